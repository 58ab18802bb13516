"""The screen under kills: in the worker, beside reuse, and at the edge of another cluster's workers."""

from __future__ import annotations

import time
from itertools import product
from typing import TYPE_CHECKING

from faults.death import PUBLISHED, REUSED
from faults.floods import ON, RULES, check_truth, flood_post
from faults.hampered import DEATH
from faults.scenario import scenario
from faults.scenarios.reuse import SOON_S, die_at, orders_in, wait_death
from support.collector import committed, ends
from support.workers import until

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
_ROUNDS, _RATE_PER_S = 2, 60.0
_DEATHS = tuple(product(("edge", "centre"), (REUSED, PUBLISHED)))


@scenario(number=19, name="screen-killed-before-publish")
def killed_before_publish(stage: Stage) -> None:
    """Workers die with an answer of their screen, or a reused finding, in hand that nobody has published."""
    _check_screen(stage, die_at(stage, REUSED, _screened(stage), module="faults.word_screen"))


@scenario(number=19, name="screen-killed-before-acknowledge")
def killed_before_acknowledge(stage: Stage) -> None:
    """Workers die when the brokers have an answer of their screen, or a reused finding, that is not acknowledged."""
    _check_screen(stage, die_at(stage, PUBLISHED, _screened(stage), module="faults.word_screen"))


@scenario(number=19, name="screen-at-the-edge")
def edge(stage: Stage) -> None:
    """Edges answer with their screen or send on, workers behind them judge and reuse; both die on both sides of a publish."""
    lane = stage.lane
    lane.set_fake(rules=RULES, call_overhead_s=0.2)
    central, group = f"{lane.prefix}.central", f"{lane.group}-central"
    stage.kafka.create_topic(central, 3)
    behind = ON | {"topics.posts": central, "kafka.group": group, "screen.from_edge": "true"}
    front = _screened(stage) | {"worker.role": "screen", "topics.forward": central}
    tiers = {
        name: (
            orders := orders_in(lane.folder / name),
            stage.kubelet(1, settings, module=module, environment={DEATH: str(orders.path)}),
        )
        for name, settings, module in (
            ("edge", front, "faults.word_screen"),
            ("centre", behind, "faults.hampered"),
        )
    }
    for _orders, kubelet in tiers.values():
        kubelet.wait_ready(within_s=SOON_S)
    load = stage.load(_RATE_PER_S, make=flood_post)
    for name, point in _DEATHS * stage.scaled(_ROUNDS):
        time.sleep(stage.rng.uniform(0.5, 2.0))
        orders, kubelet = tiers[name]
        died = kubelet.exits[-9]
        orders.give(point)
        wait_death(kubelet, died + 1)
    load.stop()
    stage.wait_settled(SOON_S)
    until("the centre has settled", lambda: _behind(stage, central, group) == 0, within_s=SOON_S)
    forwarded = sum(ends(lane.bootstrap, central).values())
    _check_screen(stage, check_truth(stage))
    exits = {code for _orders, kubelet in tiers.values() for code in kubelet.exits}
    stage.require(exits <= {-9}, f"a worker ended by itself: exit codes {exits}")
    deaths = sum(len(orders.deaths()) for orders, _kubelet in tiers.values())
    stage.note("died", deaths=deaths, forwarded=forwarded)


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


def _behind(stage: Stage, topic: str, group: str) -> int:
    """Records of a topic that a group has not acknowledged."""
    now = committed(stage.lane.bootstrap, group, topic)
    return sum(end - now[number] for number, end in ends(stage.lane.bootstrap, topic).items())
