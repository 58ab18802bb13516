"""Trace: from a verdict to the rows that taught its model and the decisions behind them, and back to what was taught by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sluicegate.engines.adapt.cycle.ledger import CycleLedger, SealedDecision, SnapshotRow
from sluicegate.engines.adapt.cycle.runs import UsedRows, results

if TYPE_CHECKING:
    from pathlib import Path


class TaughtBundle(NamedTuple):
    """A bundle that a cycle made."""

    digest: str
    snapshot: str
    run: Path


class VerdictTrace(NamedTuple):
    """What is known of a verdict."""

    verdict: str
    engine: str | None
    """Digest of the engine that judged, where it is known."""
    bundle: TaughtBundle | None
    """What made that engine; None if no cycle of this folder did."""
    rows: tuple[SnapshotRow, ...]
    """The rows that taught it."""
    decisions: tuple[SealedDecision, ...]
    """What people decided about this verdict."""
    taught: tuple[tuple[SnapshotRow, tuple[str, ...]], ...]
    """The rows that came of it, each with the digests of the bundles that learnt from it."""
    not_taught: tuple[tuple[str, str, str], ...]
    """Ids of rows that came of it, each with the digest of a bundle that did not learn from it, and why: ``dev`` where it was
    held out."""

    def document(self) -> dict[str, Any]:
        """For JSON. No text is in it."""
        return {
            "verdict": self.verdict,
            "engine": self.engine,
            "bundle": None if self.bundle is None else {**self.bundle._asdict(), "run": str(self.bundle.run)},
            "rows": [row.fact for row in self.rows],
            "decisions": [one.model_dump(mode="json", exclude={"sealed"}) for one in self.decisions],
            "taught": [{"row": row.fact, "bundles": bundles} for row, bundles in self.taught],
            "not_taught": [
                {"row": row, "bundle": digest, "why": why} for row, digest, why in self.not_taught
            ],
        }


def bundles(folder: Path) -> list[TaughtBundle]:
    """Every bundle that the cycles of a folder made, oldest first."""
    return [
        TaughtBundle(result["digest"], result["snapshot"], run)
        for run, result in results(folder)
        if result["digest"] is not None
    ]


def trace(ledger: CycleLedger, verdict: str, engine: str | None) -> VerdictTrace:
    """Follow a verdict both ways.

    Args:
        ledger: Of the cycle.
        verdict: Its id.
        engine: Digest of the engine that it names; None takes the one that a decision about it names.

    Raises:
        CycleError: The snapshot that taught the engine was changed. The other ones are not made sure of here.
    """
    decisions = tuple(ledger.decisions(verdict))
    if engine is None:
        engine = next((one.engine for one in reversed(decisions) if one.engine is not None), None)
    made = bundles(ledger.folder)
    bundle = next((one for one in made if one.digest == engine), None)
    taught_by: tuple[SnapshotRow, ...] = ()
    if bundle is not None:
        of_snapshot = ledger.snapshot(bundle.snapshot).rows
        train = UsedRows.of(bundle.run, of_snapshot).train
        taught_by = tuple(row for row in of_snapshot if row.id in train)
    rows: dict[str, SnapshotRow] = {}
    learnt: dict[str, list[str]] = {}
    not_taught = []
    for one in made:
        ones = ledger.rows_of(one.snapshot, verdict)
        used = UsedRows.of(one.run, ones)
        for row in ones:
            rows[row.id] = row
            by = learnt.setdefault(row.id, [])
            if row.id in used.train:
                by.append(one.digest)
            else:
                not_taught.append((row.id, one.digest, used.out.get(row.id, "dev")))
    taught = tuple((row, tuple(learnt[key])) for key, row in rows.items())
    return VerdictTrace(verdict, engine, bundle, taught_by, decisions, taught, tuple(not_taught))
