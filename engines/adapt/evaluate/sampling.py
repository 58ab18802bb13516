"""Samples: some of the rows, each stratum with its share, the same ones whenever and wherever they are drawn. Pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from sluicegate.engines.adapt.rows import Row

Stratum = tuple[str, str, str]


def stratum(row: Row) -> Stratum:
    """Language, severity and source of a row."""
    return row.language or "", row.severity, row.source


def draw(rows: Sequence[Row], count: int, *, seed: int, by: Callable[[Row], Hashable] = stratum) -> list[Row]:
    """A sample of rows in their own order, every stratum with its share of the whole.

    Shares are rounded by largest remainders, ties decided by the seed. Which rows of a stratum are taken is
    decided by their ids and the seed, never by their texts or their order.

    Args:
        rows: Ids differ.
        count: Rows wanted; all of them where there are no more.
        seed: Another seed, another sample.
        by: The stratum of a row.
    """
    if count >= len(rows):
        return list(rows)
    strata: dict[Hashable, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _lot(seed, row.id)):
        strata[by(row)].append(row)
    exact = {name: count * len(members) / len(rows) for name, members in strata.items()}
    taken = {name: int(share) for name, share in exact.items()}
    rest = sorted(strata, key=lambda name: (taken[name] - exact[name], _lot(seed, repr(name))))
    for name in rest[: count - sum(taken.values())]:
        taken[name] += 1
    chosen = {row.id for name, members in strata.items() for row in members[: taken[name]]}
    return [row for row in rows if row.id in chosen]


def _lot(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
