"""Risk: what somebody can guess from the patterns of an institution, measured on its own data. Pure.

Two attackers. One has the feed and knows how it is made, and has no key. The other is a member of the circle, and has the
key. Both are given more than they would have: the exact texts of the flood, but for what they want to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.patterns.masking import CommonWords, masked
from sluicegate.pipeline.patterns.mining import ConfirmedCopy, MinedCluster, is_copy, mine
from sluicegate.pipeline.patterns.sketch import BARRIER, KEPT, all_checksums, checksums, common, keyed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

_OTHER_KEY = bytes(32)


@dataclass(frozen=True, slots=True)
class RiskFigures:
    """What was measured."""

    patterns: int
    copies: int
    """Confirmed posts that patterns are made of."""
    personal: int
    """Of those, posts in which something was masked."""
    told: int
    """Of those, posts of which a member with the key can tell what was masked from something else: the aim is none."""
    outsider: int
    """Of all copies, those that an outsider can tell from other texts: the aim is none."""
    pairs: float
    """Values of a pattern in the mean: each confirms a guess of two neighbouring words, to a member, that k authors wrote."""
    tried: int
    """Copies that were left out in turn, to see what their presence changes."""
    advantage: float
    """How much better than a coin a member guesses whether a known post was counted: 0 is not at all, 1 is always right."""


def measure_risk(
    copies: Sequence[ConfirmedCopy],
    *,
    k: int,
    vocabulary: CommonWords,
    harmless: Collection[frozenset[int]],
    others: Sequence[tuple[Sequence[int], datetime | None]] = (),
    secret: bytes,
    most: int = 200,
) -> RiskFigures:
    """Attack the patterns that these copies would give.

    Args:
        copies: That people confirmed.
        k: The circle's.
        vocabulary: The institution's common words.
        harmless: The checksums of each text that people found safe.
        others: The lowest checksums of each post that nobody decided on, and when it was made.
        secret: The circle's key.
        most: Copies that are left out in turn; each costs a mining.
    """
    clusters = mine(copies, k=k, vocabulary=vocabulary, harmless=harmless, others=others).clusters
    counted = [(copy, of) for copy in copies if (of := _cluster_of(copy.text, clusters)) is not None]
    personal = [(copy, of) for copy, of in counted if BARRIER in masked(copy.text)]
    right, wrong = keyed(secret), keyed(_OTHER_KEY)
    leaked = 0
    for copy, of in counted:
        values = {right(one) for one in of.checksums}
        leaked += any(wrong(one) in values for one in checksums(copy.text, KEPT))
    step = max(1, len(counted) // most)
    inside: list[int] = []
    outside: list[int] = []
    for copy, of in counted[::step]:
        left = [one for one in copies if one is not copy and is_copy(one.text, of.checksums)]
        without = mine(left, k=k, vocabulary=vocabulary, harmless=harmless, others=others).clusters
        inside.append(seen(copy.text, of))
        outside.append(max((seen(copy.text, one) for one in without), default=0))
    return RiskFigures(
        patterns=len(clusters),
        copies=len(counted),
        personal=len(personal),
        told=sum(tells(copy.text, of) for copy, of in personal),
        outsider=leaked,
        pairs=sum(len(one.checksums) for one in clusters) / len(clusters) if clusters else 0.0,
        tried=len(inside),
        advantage=advantage(inside, outside),
    )


def tells(text: str, cluster: MinedCluster) -> bool:
    """True if a pattern has a value of a pair that reaches into what was masked: then guesses can be compared."""
    whole = all_checksums(text)
    return bool((whole - all_checksums(masked(text))) & set(cluster.checksums))


def seen(text: str, cluster: MinedCluster) -> int:
    """What a member with the key sees of a text: how many of its lowest values a pattern has."""
    return common(checksums(text, KEPT), cluster.checksums)


def advantage(inside: Sequence[int], outside: Sequence[int]) -> float:
    """The largest gap between two shares, over all tests of the kind "so many values or more".

    Args:
        inside: What is seen of posts that were counted.
        outside: What is seen of posts that were not.
    """
    if not inside or not outside:
        return 0.0
    return max(
        abs(
            sum(one >= limit for one in inside) / len(inside)
            - sum(one >= limit for one in outside) / len(outside)
        )
        for limit in {*inside, *outside}
    )


def _cluster_of(text: str, clusters: Sequence[MinedCluster]) -> MinedCluster | None:
    return next((one for one in clusters if is_copy(text, one.checksums)), None)
