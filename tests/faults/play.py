"""Plays a scenario: sets the stage, lets it act, settles, reads everything back and judges."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.history import History
from faults.outcome import Outcome, judge_outcome
from faults.stage import Stage
from support.collector import account
from support.workers import open_lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.scenario import Scenario
    from support.collector import Record, Sent
    from support.kafka import ApacheKafka

SETTLE_S = 120.0


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario's end."""

    scenario: Scenario
    outcome: Outcome
    broken: tuple[str, ...]
    """Demands that were not met, and what went wrong in the scenario itself."""
    seconds: float
    folder: Path | None
    """History and logs, kept where the scenario failed."""

    @property
    def kept(self) -> bool:
        """True if nothing was lost or wrong, and every further demand was met."""
        return self.outcome.kept and not self.broken


def play(scenario: Scenario, kafka: ApacheKafka, *, seed: int, size: float = 1.0) -> Played:
    """Play one scenario on a cluster; its brokers all run again afterwards."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"sluicegate-faults-{scenario.name}-"))
    history = History(folder / "history.jsonl")
    history.note("begin", scenario=scenario.name, seed=seed, size=size, kafka=kafka.version)
    with _into(folder / "lane.log"), open_lane(kafka, folder, partitions=scenario.partitions) as lane:
        stage = Stage(kafka, lane, history, random.Random(f"{seed}/{scenario.name}"), size)
        try:
            scenario.act(stage)
            for load in stage.loads:
                load.stop()
            stage.wait_settled(SETTLE_S)
        except Exception as error:  # noqa: BLE001 - a scenario that breaks has failed; the others still play
            stage.require(condition=False, message=f"{type(error).__name__}: {error}")
        finally:
            for kubelet in stage.kubelets:
                kubelet.stop()
            for node in kafka.down:
                kafka.restart(node)
        records = lane.read()
        outcome = judge_outcome(
            stage.sent,
            records,
            open_tenants=stage.open_tenants,
            one_action=stage.one_action,
            notes=stage.notes,
        )
    stage.require(stage.may_repeat or not outcome.repeats, f"{outcome.repeats} repeats, none were to be")
    history.note("end", outcome=str(outcome), broken=stage.broken)
    kept = outcome.kept and not stage.broken
    if not kept:
        _tell(history, stage.sent, records)
    if kept:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - began
    return Played(scenario, outcome, tuple(stage.broken), seconds, None if kept else folder)


def _tell(history: History, sent: list[Sent], records: list[Record]) -> None:
    """Write down which records were lost or answered more than once, for who looks for the cause."""
    for one in account(sent, records).lost:
        history.note("lost", post=one.post_id, partition=one.partition, offset=one.offset)
    answers: defaultdict[tuple[Any, Any], list[Record]] = defaultdict(list)
    for record in records:
        answers[record.body.get("post_id"), record.body.get("revision")].append(record)
    places = {(one.post_id, one.revision): (one.partition, one.offset) for one in sent}
    for key, found in answers.items():
        if len(found) > 1 and key in places:
            said = [(one.body["verdict_id"], one.body["action"], one.body["judged_at"]) for one in found]
            history.note("repeated", post=key[0], place=places[key], said=said)


@contextlib.contextmanager
def _into(path: Path) -> Iterator[None]:
    """A lane shows its workers' last lines; here that is many lines, for who reads a failed scenario's folder."""
    with path.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        yield
