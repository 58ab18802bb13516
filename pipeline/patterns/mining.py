"""Mining: from copies that people confirmed to what a pattern is made of. Pure.

Nothing here leaves the house: a cluster has its template and its exact counts, for the people who approve it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sluicegate.pipeline.patterns.masking import CommonWords, masked
from sluicegate.pipeline.patterns.pattern import LEAST_VALUES, MOST_VALUES
from sluicegate.pipeline.patterns.sketch import (
    ASKED_FIRST,
    BARRIER,
    KEPT,
    LOOKED_UP,
    NEEDED,
    all_checksums,
    checksums,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

SLOT = "‹…›"
"""Stands for what was masked, where people read it."""
TIMES_K = 3
"""A cluster has so many times k authors, and each value k of them. Where both were k, one author's copy decided about
nearly each value: whether it was counted could be told with an advantage of 0.07 over a coin, and of 0.02 over all floods."""
_FOUND_SHARE = 0.5
"""A pattern that finds fewer of its own copies is no use to others."""
_COMMON_SHARE = 0.25
"""A value that fewer of a cluster's authors have says more of them than of the flood."""


@dataclass(frozen=True, slots=True)
class ConfirmedCopy:
    """A post that people found harmful."""

    text: str
    author: str
    """Of its tenant. Posts without an author have one between them."""
    category: str
    severity: Literal["controversial", "unsafe"]
    language: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class MinedCluster:
    """Copies of one flood, and what their authors have in common."""

    checksums: tuple[int, ...]
    """Those that at least k authors have, the most common first."""
    authors: int
    """Exact: it stays here."""
    copies: int
    category: str
    severity: Literal["controversial", "unsafe"]
    languages: tuple[str, ...]
    first: datetime
    last: datetime
    template: str
    """What is left of one copy after masking, for people to look at."""


@dataclass(slots=True)
class MiningResult:
    """What was found, and what was left out."""

    clusters: list[MinedCluster] = field(default_factory=list)
    few_authors: int = 0
    """Clusters of fewer than :data:`TIMES_K` times k authors."""
    little_in_common: int = 0
    """Clusters of which too little is left to find their own copies by: these differ, or what they share is masked or harmless."""


def mine(
    copies: Sequence[ConfirmedCopy], *, k: int, vocabulary: CommonWords, harmless: Collection[frozenset[int]]
) -> MiningResult:
    """Find the clusters that may be shared.

    Args:
        copies: That people confirmed. Nothing else is looked at.
        k: Different authors that each value was seen with, at least; a cluster has three times as many.
        vocabulary: Common words; a pair with another one is left out.
        harmless: The checksums of each text that people found safe: no pattern has one of them.
    """
    found = MiningResult()
    low = [checksums(copy.text, KEPT) for copy in copies]
    for members in clusters(low):
        authors = {copies[number].author for number in members}
        if len(authors) < TIMES_K * k:
            found.few_authors += 1
            continue
        cluster = _shared([copies[number] for number in members], len(authors), k, vocabulary, harmless)
        if cluster is None:
            found.little_in_common += 1
        else:
            found.clusters.append(cluster)
    return found


def is_copy(text: str, of: Collection[int]) -> bool:
    """True if a text would be a match of a pattern with these checksums: as :meth:`PatternIndex.find` has it."""
    low = checksums(text, LOOKED_UP)
    return any(value in of for value in low[:ASKED_FIRST]) and len({*low} & {*of}) >= NEEDED


def clusters(low: Sequence[Sequence[int]]) -> Iterable[list[int]]:
    """Numbers of texts that share two of their lowest checksums, directly or through others."""
    parent: list[int] = []
    holders: defaultdict[int, set[int]] = defaultdict(set)

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for number, own in enumerate(low):
        parent.append(number)
        values = set(own)
        met = Counter(one for value in values for one in {root(holder) for holder in holders[value]})
        for other, shared in met.items():
            if shared >= NEEDED:
                parent[root(other)] = number
        for value in values:
            holders[value] = {root(holder) for holder in holders[value]} | {number}
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number, own in enumerate(low):
        if own:
            members[root(number)].append(number)
    return members.values()


def _shared(
    copies: Sequence[ConfirmedCopy],
    authors: int,
    k: int,
    vocabulary: CommonWords,
    harmless: Collection[frozenset[int]],
) -> MinedCluster | None:
    """What of a cluster at least k authors have, once all that may stand for a person is gone."""
    holders: defaultdict[int, set[str]] = defaultdict(set)
    templates: dict[str, str] = {}
    for copy in copies:
        template = vocabulary.masked(masked(copy.text))
        templates.setdefault(template, copy.text)
        for checksum in all_checksums(template) & set(checksums(copy.text, KEPT)):
            holders[checksum].add(copy.author)
    least = max(k, _COMMON_SHARE * authors)
    safe = frozenset[int]().union(*harmless)
    kept = [checksum for checksum, who in holders.items() if len(who) >= least and checksum not in safe]
    if len(kept) < LEAST_VALUES:
        return None
    kept.sort(key=lambda checksum: (-len(holders[checksum]), checksum))
    chosen = tuple(kept[:MOST_VALUES])
    if sum(is_copy(copy.text, chosen) for copy in copies) < _FOUND_SHARE * len(copies):
        return None
    template = max(templates, key=lambda one: len(all_checksums(one) & set(chosen)))
    categories = Counter(copy.category for copy in copies)
    languages = Counter(copy.language for copy in copies if copy.language is not None)
    return MinedCluster(
        checksums=chosen,
        authors=authors,
        copies=len(copies),
        category=categories.most_common(1)[0][0],
        severity="unsafe" if any(copy.severity == "unsafe" for copy in copies) else "controversial",
        languages=tuple(name for name, count in languages.most_common(3) if count >= k),
        first=min(copy.decided_at for copy in copies),
        last=max(copy.decided_at for copy in copies),
        template=readable(template),
    )


def readable(template: str) -> str:
    """A masked text for people: each masked run as one slot."""
    parts = [part for part in template.split(BARRIER) if part]
    return SLOT.join(parts) if parts else SLOT
