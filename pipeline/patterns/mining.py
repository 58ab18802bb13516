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
EVERYDAY_SHARE = 0.001
EVERYDAY_LEAST = 5
"""What matches more of the posts from before a flood, by share and by number, is no sign of the flood. A few may be early
copies that nobody decided on."""


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
    made_at: datetime | None = None
    """When its post was made, if the post says so."""


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
    """Clusters of which too little is left to find their own copies by: these differ, or what they share is masked, harmless or said every day."""


def mine(
    copies: Sequence[ConfirmedCopy],
    *,
    k: int,
    vocabulary: CommonWords,
    harmless: Collection[frozenset[int]],
    others: Sequence[tuple[Sequence[int], datetime | None]] = (),
) -> MiningResult:
    """Find the clusters that may be shared.

    Args:
        copies: That people confirmed. Nothing else is looked at.
        k: Different authors that each value was seen with, at least; a cluster has three times as many.
        vocabulary: Common words; a pair with another one is left out.
        harmless: The checksums of each text that people found safe: no pattern shares two of them with one text.
        others: The lowest checksums of each post that nobody decided on, and when it was made: what is written every day
            is in no pattern, either.
    """
    found = MiningResult()
    low = [checksums(copy.text, KEPT) for copy in copies]
    for members in clusters(low):
        authors = {copies[number].author for number in members}
        if len(authors) < TIMES_K * k:
            found.few_authors += 1
            continue
        its = [copies[number] for number in members]
        begun = min(copy.made_at or copy.decided_at for copy in its)
        before = [low for low, made_at in others if made_at is not None and made_at < begun]
        cluster = _shared(its, len(authors), k, vocabulary, harmless, before)
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
    before: Sequence[Sequence[int]],
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
    kept = [checksum for checksum, who in holders.items() if len(who) >= least]
    kept.sort(key=lambda checksum: (-len(holders[checksum]), checksum))
    chosen = _without_everyday(kept, harmless, before)
    if len(chosen) < LEAST_VALUES:
        return None
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


def _without_everyday(
    kept: Sequence[int], harmless: Iterable[frozenset[int]], before: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Values of a pattern that no safe text has two of, and hardly any post from before.

    The value that most of those texts have goes, until it is so: to leave out all that they have left nothing of
    floods that speak of everyday things.

    Args:
        kept: The most common ones first.
        harmless: The checksums of each safe text.
        before: The lowest checksums of each post from before.
    """
    values = list(kept)
    wanted = frozenset(values)
    safe = [shared for text in harmless if len(shared := text & wanted) >= NEEDED]
    everyday = [shared for low in before if len(shared := wanted.intersection(low)) >= NEEDED]
    while True:
        chosen = frozenset(values[:MOST_VALUES])
        met = [shared for text in safe if len(shared := text & chosen) >= NEEDED]
        old = [shared for low in everyday if len(shared := low & chosen) >= NEEDED]
        if len(old) > max(EVERYDAY_LEAST, EVERYDAY_SHARE * len(before)):
            met += old
        if not met:
            return tuple(values[:MOST_VALUES])
        counted = Counter(value for shared in met for value in shared)
        values.remove(max(chosen, key=lambda value: (counted[value], value)))


def readable(template: str) -> str:
    """A masked text for people: each masked run as one slot."""
    parts = [part for part in template.split(BARRIER) if part]
    return SLOT.join(parts) if parts else SLOT
