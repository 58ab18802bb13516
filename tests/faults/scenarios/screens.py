"""The screen under kills, beside reuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.death import PUBLISHED, REUSED
from faults.floods import ON
from faults.scenario import scenario
from faults.scenarios.reuse import die_at

if TYPE_CHECKING:
    from faults.stage import Stage
    from sluicegate.schemas import Verdict

_POLICY = """
name: screened
version: "1"
rules: {screen: {tolerance: 0.01}}
"""
_SCREEN = {
    "screen.path": "word-screen",
    "screen.sample_share": "0.1",
    "kafka.session_timeout_s": ON["kafka.session_timeout_s"],
}


@scenario(number=19, name="screen-killed-before-publish")
def killed_before_publish(stage: Stage) -> None:
    """Workers die with an answer of their screen, or a reused finding, in hand that nobody has published."""
    _check_screen(stage, die_at(stage, REUSED, _screened(stage), module="faults.word_screen"))


@scenario(number=19, name="screen-killed-before-acknowledge")
def killed_before_acknowledge(stage: Stage) -> None:
    """Workers die when the brokers have an answer of their screen, or a reused finding, that is not acknowledged."""
    _check_screen(stage, die_at(stage, PUBLISHED, _screened(stage), module="faults.word_screen"))


def _screened(stage: Stage) -> dict[str, str]:
    return _SCREEN | stage.lane.set_policy(_POLICY)


def _check_screen(stage: Stage, found: list[Verdict]) -> None:
    """Demand that the screen was at work, and only allowed."""
    screened = [one for one in found if one.assessed_by == "screen"]
    stage.require(screened, "the screen answered nothing: nothing was shown")
    stage.require(
        all(one.action == "allow" and one.engine.backend == "screen" for one in screened),
        "the screen did more than allow, or under another's stamp",
    )
    stage.note("screened", screen=len(screened))
