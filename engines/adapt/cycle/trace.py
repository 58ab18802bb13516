"""Trace: from a verdict to the rows that taught its model and the decisions behind them, and back to what was taught by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sluicegate.engines.adapt.cycle.ledger import RESULT, RUNS, CycleLedger, SealedDecision, SnapshotRow

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

    def document(self) -> dict[str, Any]:
        """For JSON. No text is in it."""
        return {
            "verdict": self.verdict,
            "engine": self.engine,
            "bundle": None if self.bundle is None else {**self.bundle._asdict(), "run": str(self.bundle.run)},
            "rows": [row.fact for row in self.rows],
            "decisions": [one.model_dump(mode="json", exclude={"sealed"}) for one in self.decisions],
            "taught": [{"row": row.fact, "bundles": bundles} for row, bundles in self.taught],
        }


def bundles(folder: Path) -> list[TaughtBundle]:
    """Every bundle that the cycles of a folder made, oldest first."""
    found = []
    for path in (folder / RUNS).glob(f"*/{RESULT}"):
        result = orjson.loads(path.read_bytes())
        if result["digest"] is not None:
            found.append((result["at"], TaughtBundle(result["digest"], result["snapshot"], path.parent)))
    return [bundle for _, bundle in sorted(found)]


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
    taught_by = () if bundle is None else ledger.snapshot(bundle.snapshot).rows
    rows: dict[str, SnapshotRow] = {}
    learnt: dict[str, list[str]] = {}
    for one in made:
        for row in ledger.rows_of(one.snapshot, verdict):
            rows[row.id] = row
            learnt.setdefault(row.id, []).append(one.digest)
    taught = tuple((row, tuple(learnt[key])) for key, row in rows.items())
    return VerdictTrace(verdict, engine, bundle, taught_by, decisions, taught)
