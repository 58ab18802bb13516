"""The pages on calibrating and on the gate against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sluicegate.engines.adapt.calibrate.calibrate import _LEAST_ROWS
from sluicegate.engines.adapt.calibrate.fitting import FITS, FOLDS
from sluicegate.engines.adapt.calibrate.grouping import MINIMUM_ROWS
from sluicegate.engines.adapt.calibrate.thresholds import Aims
from sluicegate.engines.adapt.gate.checks import GateLimits, built_in_text
from sluicegate.engines.adapt.gate.differences import RESAMPLES
from sluicegate.engines.adapt.gate.report import SAID
from sluicegate.pipeline.command import app

DOCS = Path(__file__).parents[2] / "docs"
GATE, CALIBRATE = ((DOCS / f"adapt-{name}.md").read_text(encoding="utf-8") for name in ("gate", "calibrate"))


def test_the_limits_of_the_page_are_the_built_in_ones_and_the_example_is_one() -> None:
    example, built_in = re.findall(r"```yaml\n(.*?)```", GATE, re.DOTALL)
    assert built_in == built_in_text()
    mine = GateLimits.over_built_in(yaml.safe_load(example))
    assert mine.language.macro_f1_drop == 0.03
    assert mine.always.benign_false_positives_most == 0.1


def test_numbers_and_names_of_the_pages_are_those_of_the_code() -> None:
    assert f"{RESAMPLES:,} times" in GATE
    for name in ("macro_f1", "harmful_recall", "benign_false_positives", "benign_blocked", "block_rate"):
        assert SAID[name] in GATE
    assert FOLDS == 5  # "each fifth"
    assert _LEAST_ROWS == 50  # "below fifty"
    assert f"`--minimum-rows` ({MINIMUM_ROWS})" in CALIBRATE
    assert re.findall(r"^- \*\*([a-z]+)\*\*", CALIBRATE, re.MULTILINE) == list(FITS)
    for name in Aims((0.01,), (5,)).names():
        assert f"`{name}`" in CALIBRATE


@pytest.mark.parametrize(
    ("page", "commands"),
    [(GATE, ("gate", "evaluate", "export")), (CALIBRATE, ("calibrate", "evaluate", "export"))],
)
def test_every_option_of_the_pages_is_one(page: str, commands: tuple[str, ...]) -> None:
    helps = (CliRunner().invoke(app, ["adapt", one, "--help"], env={"COLUMNS": "200"}) for one in commands)
    shown = "".join(one.stdout for one in helps)
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", page))
    assert len(options) > 5
    assert {one for one in options if one not in shown} == set()
