"""The cycle: decisions, snapshot, training and its result, one after the other. The same command goes on."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sluicegate.engines.adapt.cycle.ledger import RESULT, CycleLedger, RowSnapshot, SealedDecision
from sluicegate.engines.adapt.cycle.plan import CyclePlan
from sluicegate.engines.adapt.cycle.qualify import Qualified, qualify
from sluicegate.engines.adapt.cycle.runs import UsedRows, discard, documents, results, splits, tidy
from sluicegate.engines.adapt.cycle.training import (
    CycleOutcome,
    LiveEngine,
    TrainingRun,
    bundle_digest,
    place_of,
)
from sluicegate.engines.adapt.cycle.trigger import TriggerDecision, decide_trigger
from sluicegate.engines.adapt.data.row_files import input_files
from sluicegate.engines.adapt.data.row_reader import RowReader
from sluicegate.engines.adapt.data.rows import Row, plain_form
from sluicegate.engines.adapt.errors import CycleError
from sluicegate.engines.cpu_model import base_model
from sluicegate.engines.errors import EngineError
from sluicegate.engines.files import only_one, replace_file
from sluicegate.schemas import Feedback, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


LOCK: Final = "cycle.lock"
"""Held by the cycle that works in the ledger."""


class Cycle:
    """One cycle over one folder. Blocking.

    Args:
        plan: What is trained from.
        folder: Of the ledger and the runs; made where it is missing.
        report: Called with one line for each step.
        command: How a command of ours is called.
        policy: The live policy, whose actions the gate compares; None for the built-in one.
    """

    def __init__(
        self,
        plan: CyclePlan,
        folder: Path,
        report: Callable[[str], None],
        command: tuple[str, ...] = (sys.executable, "-m", "sluicegate"),
        *,
        policy: Path | None = None,
    ) -> None:
        self.plan = plan
        self.ledger = CycleLedger(folder)
        self._report = report
        self._command = command
        self._folder = folder
        self._policy = policy

    def run(self, records: Iterable[Feedback], *, force: bool = False) -> CycleOutcome:
        """From decisions to a bundle, or to the reason why there is none.

        Args:
            records: Decisions; those that are known already change nothing.
            force: Train even if the trigger says no, or if a training on the same rows was refused.

        Raises:
            CycleError: A step failed. The same command goes on with it. Or another cycle works in this folder.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(only_one(self._folder / LOCK))
            except BlockingIOError:
                raise CycleError(
                    f"another cycle is at work in {self._folder}; wait until it has ended, or give another --ledger"
                ) from None
            new = self.ledger.collect(one for one in records if self.plan.takes(one.post.tenant))
            self._report(f"collected {new:,} new decisions")
            with self.ledger.keys.held():
                for run, _ in results(self._folder):
                    tidy(self.ledger, run)  # one that was cut off after its result
            golden = [*_rows(self.plan.golden)]
            while True:
                outcome = self._once(golden, force=force)
                if outcome is not None:
                    return outcome.model_copy(update={"erased": self._erased()})

    def _once(self, golden: list[Row], *, force: bool) -> CycleOutcome | None:
        """One training, or why there is none. None: an author was erased meanwhile, so all of it begins anew."""
        current = self._current()
        found = self._qualify(golden, bundle_digest(current))
        content = orjson.dumps(quality_document(found), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        replace_file(self._folder / "quality.json", content + b"\n")
        decided = self._trigger(found)
        snapshot = self._cut_off()
        if snapshot is not None:
            why = "a run was cut off, and goes on; what came since is for the next one"
        elif decided.worth_it or force:
            snapshot = self.ledger.take_snapshot(found.rows)
            why = decided.why if decided.worth_it else "forced"
        else:
            newest = self._newest()
            if newest is not None and newest[1]["passed"]:
                # What failed after it, such as a hand-over, is done again.
                return CycleOutcome.model_validate(newest[1]).model_copy(update={"trigger": decided.why})
            return CycleOutcome(trigger=decided.why, rows=len(found.rows), held=len(found.held))
        ended = self._ended(snapshot, force=force)
        if ended is not None:
            self._report("this snapshot was trained on already; the result stands")
            return ended.model_copy(update={"trigger": why})
        run = TrainingRun(
            self.plan,
            self.ledger,
            snapshot,
            golden=golden,
            live=LiveEngine(current, self._policy),
            report=self._report,
            command=self._command,
        )
        try:
            return run.train(why, len(found.held))
        except (EngineError, OSError, ValueError):
            if not run.is_lost:
                raise
        run.discard()
        self._report("an author was erased meanwhile; the run begins anew without this author's texts")
        return None

    def _cut_off(self) -> RowSnapshot | None:
        """The snapshot of the run that was cut off."""
        newest = self.ledger.newest()
        if newest is None:
            return None
        place = place_of(self.ledger, self.plan, newest)
        is_open = place.exists() and not (place / RESULT).exists()
        return self.ledger.snapshot(newest) if is_open else None

    def _ended(self, snapshot: RowSnapshot, *, force: bool) -> CycleOutcome | None:
        """How the run of a snapshot ended. Forced, one that was refused begins anew."""
        place = place_of(self.ledger, self.plan, snapshot.digest)
        if not (place / RESULT).exists():
            return None
        ended = CycleOutcome.model_validate_json((place / RESULT).read_bytes())
        if force and not ended.passed:
            discard(place)
            return None
        return ended

    def _qualify(self, golden: list[Row], engine: str | None = None) -> Qualified:
        keys = self.ledger.keys

        def row_id(label: SealedDecision, severity: Severity) -> str:
            return keys.mac("row", label.case, severity, *label.categories)

        severities = {plain_form(row.text): row.severity for row in golden}
        decisions = [one for one in self.ledger.decisions() if self.plan.takes(one.tenant)]
        cases: dict[str, Severity] = {}
        for decision in decisions:
            opened = self.ledger.text(decision)
            severity = None if opened is None else severities.get(plain_form(opened[0].text))
            if severity is not None:
                cases[decision.case] = severity
        return qualify(
            decisions,
            golden=cases,
            row_id=row_id,
            splits=splits(self._folder),
            seed=self.plan.seed,
            engine=engine,
        )

    def _trigger(self, found: Qualified) -> TriggerDecision:
        newest = self._newest()
        known: set[str] = set()
        left_out = 0
        last_at = None
        if newest is not None:
            run, result = newest
            rows = self.ledger.snapshot(result["snapshot"]).rows
            known = {row.id for row in rows}
            left_out = len(UsedRows.of(run, rows).out)
            last_at = datetime.fromisoformat(result["at"])
        everything = found.rates.get("all")
        return decide_trigger(
            self.plan.trigger,
            new_rows=sum(row.id not in known for row in found.rows),
            erased_rows=self._erased(),
            left_out=left_out,
            last_at=last_at,
            now=datetime.now(UTC),
            wrong_low=0.0 if everything is None else everything.wrong.low,
        )

    def _erased(self) -> int:
        """Rows that the newest bundle learnt from and whose authors were erased since. A refused training changes nothing of it."""
        passed = [one for one in results(self._folder, self.plan.name) if one[1]["passed"]]
        if not passed:
            return 0
        run, result = passed[-1]
        rows = self.ledger.snapshot(result["snapshot"]).rows
        learnt = UsedRows.of(run, rows).train
        self.ledger.keys.refresh()
        return sum(row.id in learnt and self.ledger.keys.is_erased(row.author) for row in rows)

    def _current(self) -> Path:
        model = base_model(self.plan.current)
        path = Path(self.plan.current) if model is None else model.bundle_path()
        if not path.is_dir():
            raise CycleError(
                f"current: {path} is no bundle; `sluicegate engine fetch-cpu` brings the CPU model's"
            )
        return path

    def _newest(self) -> tuple[Path, dict[str, Any]] | None:
        return next(reversed(results(self._folder, self.plan.name)), None)


def quality_document(found: Qualified) -> dict[str, Any]:
    """What the decisions say of people and of the live engine, for JSON. No text is in it."""
    seen = found.pull
    return {
        "rows": len(found.rows),
        "rows_by_language": Counter(row.language or "und" for row in found.rows),
        "held": [one._asdict() for one in found.held],
        "alpha": asdict(found.alpha),
        "ac1": asdict(found.ac1),
        "alpha_by_language": {name: asdict(one) for name, one in found.by_language.items()},
        "raters": [
            {
                "rater": one.rater,
                "shared": one.shared,
                "alpha": asdict(one.own),
                "others_alpha": asdict(one.others),
                "drifted": one.drifted,
                "error_rate": found.error_rates[one.rater],
            }
            for one in found.raters
        ],
        "golden": {name: {"right": right, "of": of} for name, (right, of) in found.golden.items()},
        "likely_errors": [one._asdict() for one in found.likely_errors],
        "rates": {name: asdict(one) for name, one in found.rates.items()},
        "pull": None if seen is None else {"difference": seen.difference, "low": seen.low, "high": seen.high},
    }


def _rows(paths: list[Path]) -> Iterator[Row]:
    reader = RowReader(kind="post", language=None, extra_categories=(), category_map={})
    for path in input_files(paths) if paths else []:
        for number, document in enumerate(documents(path), 1):
            row = reader.read(document, name=path.stem, line=number)
            if isinstance(row, Row):
                yield row
            else:
                raise CycleError(f"{path}:{number}: {row[0].field}: {row[0].wrong}; {row[0].right}")
