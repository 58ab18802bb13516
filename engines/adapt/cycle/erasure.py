"""Erasure: an author's texts leave every file of the cycle, and the models that learnt from them are named.

What a model has learnt cannot be taken out of it. The next training begins from the base without these rows, and its
date stands in the certificate.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

from sluicegate.engines.adapt.cycle.ledger import RESULT, RUNS, CycleLedger
from sluicegate.engines.adapt.cycle.trace import bundles


def erase_author(
    ledger: CycleLedger, tenant: str, author_id: str, *, every_days: float, now: datetime | None = None
) -> dict[str, Any]:
    """Erase an author. Doing it again finishes what was cut off.

    The key goes first: from then on nobody can read the texts, whatever happens to this process.

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
    ledger.keys.erase(author)
    shredded = ledger.shred(author)
    interrupted = []
    for run in sorted((ledger.folder / RUNS).glob("*")):
        if not (run / RESULT).exists():
            # It holds readable texts of whoever is in its snapshot. It begins anew, without this author.
            shutil.rmtree(run)
            interrupted.append(run.name)
    trained = []
    for bundle in bundles(ledger.folder):
        rows = [row.id for row in ledger.snapshot(bundle.snapshot).rows if row.author == author]
        if rows:
            trained.append({"bundle": bundle.digest, "snapshot": bundle.snapshot, "rows": rows})
    return {
        "kind": "erasure",
        "author": author,
        "tenant": tenant,
        "at": at.isoformat(),
        "texts_erased": shredded,
        "runs_begun_anew": interrupted,
        "bundles_trained_on_them": trained,
        "next_training_by": (at + timedelta(days=every_days)).isoformat() if trained else None,
    }
