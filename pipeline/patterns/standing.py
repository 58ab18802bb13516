"""Standing: what a pattern is worth here, by what was here before it, and by what people here decided since. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from sluicegate.pipeline.patterns.circle import CircleKey
from sluicegate.pipeline.patterns.mining import EVERYDAY_LEAST, EVERYDAY_SHARE, ConfirmedCopy
from sluicegate.pipeline.patterns.pattern import Pattern, monday
from sluicegate.pipeline.patterns.sketch import ASKED_FIRST, KEPT, LOOKED_UP, NEEDED, checksums, keyed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

Standing = Literal["seed", "confirmed", "refused", "revoked", "poisoned"]
"""Only the first two raise posts."""

CONFIRMED_BY = 5
"""Posts raised by a pattern that people here found harmful: from then on it raises as many as come."""
_HARMFUL_PER_SAFE = 20
"""So many harmful ones for each that was safe, or it is not confirmed."""
_SEEN_BY = 2
"""Authors whose harmful posts had a value, or it is not confirmed with its pattern."""
REFUSED_BY = 2
"""Posts raised by a pattern that people here found safe, if they are more than the harmful ones: it goes."""

_FEW_POSTS = 1_000
"""Fewer from before the week that its member names say nothing of a pattern."""
_FLOOD_BEFORE = timedelta(days=3)
"""So long before its pattern a flood may have come here. The topic of posts is kept for a week, unless it was made otherwise."""


def learnt(now: Standing, *, harmful: int, safe: int) -> Standing:
    """What a pattern is worth after people here decided about posts that it raised.

    Args:
        now: What it was worth before.
        harmful: Posts that they found harmful.
        safe: Posts that they found safe.
    """
    if now not in {"seed", "confirmed"}:
        return now
    if safe >= REFUSED_BY and safe > harmful:
        return "refused"
    if _HARMFUL_PER_SAFE * safe > harmful:
        return "seed"  # also if it was confirmed: a policy may act on those
    return "confirmed" if harmful >= CONFIRMED_BY else now


def seen_here(
    pattern: Pattern, key: CircleKey, copies: Iterable[ConfirmedCopy], harmless: Collection[frozenset[int]]
) -> tuple[str, ...]:
    """The values of a pattern that people here have seen in what they found harmful: these alone are confirmed.

    A pattern can hold the values of a flood and those of a greeting. The flood would confirm it, and the greeting would be
    acted on.

    Args:
        pattern: That people here found harmful posts by.
        key: That its values are hashed with.
        copies: That people here found harmful.
        harmless: The checksums of each text that people here found safe.

    Returns:
        Those that two authors used at least, and no harmless text; none where they are too few for a match.
    """
    value_of, authors = keyed(key.value), {one: set[str]() for one in pattern.values}
    for copy in copies:
        its = {value_of(one).hex() for one in checksums(copy.text, KEPT)} & authors.keys()
        if len(its) >= NEEDED:
            for one in its:
                authors[one].add(copy.author)
    safe = {value_of(one).hex() for low in harmless for one in low}
    found = tuple(one for one, its in authors.items() if len(its) >= _SEEN_BY and one not in safe)
    return found if len(found) >= NEEDED else ()


def suspicions(
    patterns: Iterable[tuple[Pattern, date]],
    key: CircleKey,
    *,
    copies: Iterable[ConfirmedCopy],
    harmless: Iterable[Collection[int]],
    others: Sequence[tuple[Sequence[int], datetime | None]],
) -> dict[str, str]:
    """Why new patterns are not used here, by their ids; without those that nothing speaks against.

    Each text is hashed once, however many patterns are new: whoever revokes one waits meanwhile.

    Args:
        patterns: That were taken in, and when they first were. All are hashed with that key.
        key: That their values are hashed with.
        copies: That people here found harmful. A flood that is here already may have a few safe posts near it: a member
            that knows more of the flood by now shares it under another id. While more of its texts were harmful than
            safe, its first posts and what people decide on them settle it, as :func:`learnt` has it.
        harmless: The checksums of each text that people here found safe.
        others: The lowest checksums of each post that nobody here decided on, and when it was made.
    """
    new = [
        (
            pattern.id,
            [bytes.fromhex(value) for value in pattern.values],
            _at(monday(pattern.first_week)),
            taken,
        )
        for pattern, taken in patterns
    ]
    wanted, value_of = {value for _, values, _, _ in new for value in values}, cache(keyed(key.value))
    harmful_texts = _Texts((checksums(copy.text, LOOKED_UP) for copy in copies), wanted, value_of)
    safe_texts = _Texts((sorted(low)[:LOOKED_UP] for low in harmless), wanted, value_of)
    # The oldest first: what was made before a moment are the first so many.
    dated = sorted(((at, low) for low, at in others if at is not None), key=lambda one: one[0])
    times, old_texts = [at for at, _ in dated], _Texts((low for _, low in dated), wanted, value_of)
    found = {}
    for name, values, begun, taken in new:
        harmful, safe = len(harmful_texts.raised_by(values)), len(safe_texts.raised_by(values))
        if safe and safe >= harmful:
            found[name] = "matches what people here found safe"
            continue
        before = bisect_left(times, begun)
        # Its member says when the flood began. Where that leaves too little to say anything, the day counts on which it
        # came here; unless people here found it harmful, for then old posts may well be of the flood.
        if before < _FEW_POSTS and not harmful:
            before = max(before, bisect_left(times, _at(taken) - _FLOOD_BEFORE))
        hits = sum(number < before for number in old_texts.sharing(values))
        if hits > max(EVERYDAY_LEAST, EVERYDAY_SHARE * before):
            found[name] = f"matches {hits} of {before} posts from before its flood"
    return found


def _at(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class _Texts:
    """Texts by those of their lowest values that new patterns have.

    Args:
        low: The lowest checksums of each text, in order.
        wanted: Values of new patterns; no other is kept.
        value_of: Hashes a checksum.
    """

    def __init__(
        self, low: Iterable[Sequence[int]], wanted: Collection[bytes], value_of: Callable[[int], bytes]
    ) -> None:
        self._having: defaultdict[bytes, set[int]] = defaultdict(set)
        self._asked_first: defaultdict[bytes, set[int]] = defaultdict(set)
        for number, its in enumerate(low):
            for place, checksum in enumerate(its):
                if (value := value_of(checksum)) in wanted:
                    self._having[value].add(number)
                    if place < ASKED_FIRST:
                        self._asked_first[value].add(number)

    def sharing(self, values: Iterable[bytes]) -> set[int]:
        """Numbers of the texts with two of these values."""
        having = [texts for value in values if (texts := self._having.get(value))]
        return set[int]().union(*(one & other for one, other in combinations(having, NEEDED)))

    def raised_by(self, values: Sequence[bytes]) -> set[int]:
        """Those that a pattern with these values raises, as the matcher has it."""
        first = set[int]().union(*(self._asked_first.get(value, ()) for value in values))
        return self.sharing(values) & first if first else first
