"""Reuse of near duplicates under kills and changes of members: who waits for another is not forgotten."""

from __future__ import annotations

import time
from itertools import product
from typing import TYPE_CHECKING

from faults.death import PUBLISHED, REUSED, Orders
from faults.floods import ON, RULES, SEVERITIES, check_truth, copies, flood_post, text_of
from faults.hampered import DEATH
from faults.scenario import scenario
from support.workers import QUICK, until

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from faults.kubelet import Kubelet
    from faults.stage import Stage
    from sluicegate.schemas import Verdict

_RATE_PER_S = 60.0
_DEATHS = 6
_COPIES, _OTHERS = 90, 60
# Those in work keep nobody else from the engine, and hang for longer than anything here takes.
_PATIENT = {"micro_batch.in_flight": "8", "engine.score_timeout_s": "120"}
_MARKER = "flood slow"
_FINISH_S = float(QUICK["drain.finish_s"])
_DRAINED_S, _GIVEN_BACK_S = _FINISH_S - 1, _FINISH_S + 8
# A busy machine starts and ends a worker slowly; that a drain keeps its budget is another scenario's demand.
SOON_S, _LEAVE_S = 180.0, 60.0
_SLOW_TO_LEAVE = {"drain.budget_s": "40", "drain.leave_s": "30", "kafka.rebalance_timeout_s": "60"}


@scenario(number=18, name="reuse-killed-before-publish", short=True)
def killed_before_publish(stage: Stage) -> None:
    """Workers die with a reused finding in hand that nobody has published, while others wait for one in work."""
    die_at(stage, REUSED)


@scenario(number=18, name="reuse-killed-before-acknowledge")
def killed_before_acknowledge(stage: Stage) -> None:
    """Workers die when the brokers have a reused finding that is not acknowledged, while others wait."""
    die_at(stage, PUBLISHED)


@scenario(number=18, name="reuse-killed-while-copies-wait", short=True)
def killed_while_copies_wait(stage: Stage) -> None:
    """The first of each text hangs in the engine, its copies wait on every partition; then the worker is killed."""
    kill_while_copies_wait(stage)


@scenario(number=18, name="reuse-members-come-and-go")
def members_come_and_go(stage: Stage) -> None:
    """Workers join, leave and are told to stop while copies wait: drained in time or given back, none is lost."""
    stage.lane.set_fake(rules=RULES)
    kubelet = stage.kubelet(2, ON | _PATIENT | _SLOW_TO_LEAVE)
    kubelet.wait_ready(within_s=SOON_S)
    turns = list(product((_GIVEN_BACK_S, _DRAINED_S), ("stop", "join", "leave")))[: stage.scaled(6)]
    waited = 0
    for number, (delay_s, change) in enumerate(turns):
        stage.lane.set_faults(slow={"marker": _MARKER, "delay_s": delay_s})
        waited += send_copies(stage, kubelet, f"slow {number}")
        stage.history.note(change, slow_s=delay_s)
        if change == "stop":
            code = kubelet.terminate_one(stage.rng, within_s=_LEAVE_S)
            stage.require(code == 0, f"a worker told to stop exited with {code}")
        else:
            kubelet.scale(3 if change == "join" else 2)
        kubelet.wait_ready(within_s=SOON_S)
        stage.wait_settled(SOON_S)
    check_truth(stage)
    stage.note("came and went", changes=len(turns), while_copies_waited=waited)
    stage.require(waited, "copies waited at no change")
    # A worker may be told to stop before it listens: then the signal itself ends it.
    stage.require(set(kubelet.exits) <= {0, -15}, f"exit codes {dict(kubelet.exits)}")


def kill_while_copies_wait(
    stage: Stage, *, module: str = "sluicegate", environment: dict[str, str] | None = None
) -> None:
    """The scenario ``reuse-killed-while-copies-wait`` for any worker."""
    lane = stage.lane
    lane.set_fake(rules=RULES)
    kubelet = stage.kubelet(1, ON | _PATIENT, module=module, environment=environment)
    kubelet.wait_ready(within_s=SOON_S)
    for turn in range(stage.scaled(3)):
        lane.set_faults(hang={"marker": _MARKER})
        waited = send_copies(stage, kubelet, f"slow {turn}")
        stage.require(waited, "no copy waited for one in work")
        answered = lane.answers()
        stage.sent += lane.send(flood_post(number, stage.rng) for number in _others(turn))
        lane.wait_answers(answered + _OTHERS, within_s=SOON_S)
        time.sleep(3 * float(QUICK["kafka.commit_interval_s"]))  # commits may do their worst
        lane.set_faults()
        kubelet.kill_one(stage.rng)
        kubelet.wait_ready(within_s=SOON_S)
        stage.wait_settled(SOON_S)
    check_truth(stage)
    stage.note("killed", kills=kubelet.restarts)


def _others(turn: int) -> range:
    return range(turn * _OTHERS, (turn + 1) * _OTHERS)


def send_copies(stage: Stage, kubelet: Kubelet, flood: str) -> bool:
    """Send the texts of a flood, and when these are in work copies of them; True if all of these are held when taken."""
    first = [{"id": f"{severity}-{flood}-first", "text": text_of(flood, severity)} for severity in SEVERITIES]
    stage.sent += stage.lane.send(first)
    until("the first ones are in work", lambda: _sum(kubelet, "engine_prompts_in_work"), within_s=SOON_S)
    goal = _sum(kubelet, "records_taken_total") + _COPIES
    stage.sent += stage.lane.send(copies(flood, _COPIES, stage.rng))
    until("their copies are taken", lambda: _sum(kubelet, "records_taken_total") >= goal, within_s=SOON_S)
    held, asked = _sum(kubelet, "window_posts"), _sum(kubelet, "engine_prompts_in_work")
    stage.history.note("copies were sent", held=held, in_work=asked)
    # Each worker asks for a text itself, in both of its forms where it comes mutated.
    most = 2 * len(SEVERITIES) * len(kubelet.workers)
    stage.require(asked <= most, f"{asked:g} prompts in work while {_COPIES} copies were to wait")
    return held >= _COPIES


def _sum(kubelet: Kubelet, metric: str) -> float:
    return sum(worker.metric(f"sluicegate_{metric}") for worker in kubelet.workers)


def die_at(
    stage: Stage, point: str, settings: dict[str, str] | None = None, *, module: str = "faults.hampered"
) -> list[Verdict]:
    """Let workers under floods die at a point, each with near duplicates that wait; what they and others published."""
    stage.lane.set_fake(rules=RULES, call_overhead_s=0.4)
    orders = orders_in(stage.lane.folder / "deaths")
    environment = {DEATH: str(orders.path)}
    kubelet = stage.kubelet(2, ON | (settings or {}), module=module, environment=environment)
    kubelet.wait_ready(within_s=SOON_S)
    load = stage.load(_RATE_PER_S, make=flood_post)
    for number in range(stage.scaled(_DEATHS)):
        time.sleep(stage.rng.uniform(0.5, 2.0))
        orders.give(point, waiting=1)
        wait_death(kubelet, number + 1)
    load.stop()
    stage.wait_settled(SOON_S)
    found = check_truth(stage)
    _check_deaths(stage, orders, found, point)
    stage.require(set(kubelet.exits) <= {-9}, f"a worker ended by itself: exit codes {dict(kubelet.exits)}")
    return found


def wait_death(kubelet: Kubelet, deaths: int) -> None:
    """Wait until so many workers have died by SIGKILL, and others stand in their places."""
    until(f"death {deaths}", lambda: kubelet.exits[-9] >= deaths, within_s=SOON_S)
    kubelet.wait_ready(within_s=SOON_S)


def orders_in(folder: Path) -> Orders:
    """Orders of death, in a folder of their own."""
    folder.mkdir()
    return Orders(folder / "order")


def _check_deaths(stage: Stage, orders: Orders, found: list[Verdict], point: str) -> None:
    """Demand that deaths met the point: with verdicts in hand that stood nowhere yet, or stood already."""
    deaths = orders.deaths()
    judged: dict[str, list[datetime]] = {}
    for verdict in found:
        judged.setdefault(verdict.post_id, []).append(verdict.judged_at)
    in_hand = [(post_id, death.at) for death in deaths for post_id in death.posts if post_id in judged]
    before = sum(min(judged[post_id]) <= at for post_id, at in in_hand)
    if point == PUBLISHED:
        stage.require(before == len(in_hand), f"{len(in_hand) - before} verdicts did not stand at the death")
        again = sum(max(judged[post_id]) > at for post_id, at in in_hand)
        stage.require(
            again == len(in_hand), f"{len(in_hand) - again} posts were acknowledged before the death"
        )
    else:
        stage.require(before < len(in_hand), "all that was in hand stood already")
    waiting = sum(death.waiting for death in deaths)
    stage.note("died", deaths=len(deaths), in_hand=len(in_hand), waiting=waiting)
