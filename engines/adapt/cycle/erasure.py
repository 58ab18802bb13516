"""Erasure: an author's texts leave every file of the cycle, and the models that learnt from them are named.

What a model has learnt cannot be taken out of it. The next training begins from the base without these rows, and its
date stands in the certificate.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sluicegate.engines.adapt.cycle.ledger import CycleLedger
from sluicegate.engines.adapt.cycle.runs import UsedRows, discard, results, tidy, unfinished


def erase_author(
    ledger: CycleLedger, tenant: str, author_id: str, *, every_days: float, now: datetime | None = None
) -> dict[str, Any]:
    """Erase an author. Doing it again finishes what was cut off.

    The key goes first: from then on nobody can read the texts, whatever happens to this process. A cycle that is at work
    with the author's texts stops its step within seconds, deletes what it wrote since, and begins that run anew.

    Args:
        ledger: Of the cycle.
        tenant: Whose author.
        author_id: As posts name the author.
        every_days: How often a cycle runs: by then the next model is trained without the rows.
        now: For tests.

    Returns:
        The certificate. It names the author by the keyed hash alone.
    """
    at = now or datetime.now(UTC)
    author = ledger.keys.author(tenant, author_id)
    interrupted, trained = [], []
    with ledger.keys.held():  # no result is written, and no decision, until all of it is done
        ledger.keys.erase(author)
        shredded = ledger.shred(author)
        for run, snapshot in unfinished(ledger):
            if snapshot is None or _has(ledger, snapshot, author):
                discard(run)  # it may hold readable texts of theirs
                interrupted.append(run.name)
        for run, result in results(ledger.folder):
            tidy(ledger, run)
            rows = ledger.snapshot(result["snapshot"]).rows
            used = UsedRows.of(run, rows)
            theirs = {row.id for row in rows if row.author == author}
            if result["digest"] is not None and theirs & (used.train | used.dev):
                trained.append(
                    {
                        "bundle": result["digest"],
                        "snapshot": result["snapshot"],
                        "rows": sorted(theirs & used.train),
                        "held_out": sorted(theirs & used.dev),
                    }
                )
    return {
        "kind": "erasure",
        "author": author,
        "tenant": tenant,
        "at": at.isoformat(),
        "texts_erased": shredded,
        "runs_begun_anew": interrupted,
        "bundles_trained_on_them": [one for one in trained if one["rows"]],
        "bundles_judged_with_them": [one for one in trained if not one["rows"]],
        "next_training_by": (
            (at + timedelta(days=every_days)).isoformat() if any(one["rows"] for one in trained) else None
        ),
    }


def _has(ledger: CycleLedger, snapshot: str, author: str) -> bool:
    """Whether a snapshot has rows of an author."""
    return any(row.author == author for row in ledger.snapshot(snapshot).rows)
