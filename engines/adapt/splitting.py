"""Splitting: which clusters of rows go to dev, by a seed, each language and severity in its share. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.facts import Facts


def assign(clusters: Sequence[Sequence[Facts]], *, share: float, seed: int) -> list[bool]:
    """Say of each cluster whether it goes to dev. Neither order nor company of the input plays a part.

    Clusters are grouped by the language and severity that most of their rows have. Each such group gives
    rows to dev up to ``share`` of its rows, rounded; a cluster that would exceed it stays in train.

    Args:
        clusters: Rows that stay together; none is empty.
        share: Of the rows, from 0 to 1.
        seed: Another seed, another choice.
    """
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, rows in enumerate(clusters):
        counts = Counter((row.language or "", row.severity) for row in rows)
        strata[min(counts, key=lambda stratum: (-counts[stratum], stratum))].append(at)
    to_dev = [False] * len(clusters)
    for members in strata.values():
        room = int(share * sum(len(clusters[at]) for at in members) + 0.5)
        for at in sorted(members, key=lambda at: _lot(clusters[at], seed)):
            if len(clusters[at]) <= room:
                to_dev[at] = True
                room -= len(clusters[at])
    return to_dev


def _lot(rows: Sequence[Facts], seed: int) -> bytes:
    """Where a cluster stands in the drawing: its own texts and the seed alone say so."""
    return hashlib.blake2b(
        min(row.form for row in rows), key=f"{seed}".encode()[:64], digest_size=16
    ).digest()
