"""Standing: what a pattern is worth here, by what was here before it, and by what people here decided since. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from sluicegate.pipeline.patterns.circle import CircleKey
from sluicegate.pipeline.patterns.mining import EVERYDAY_LEAST, EVERYDAY_SHARE, ConfirmedCopy
from sluicegate.pipeline.patterns.pattern import Pattern, week_begins
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
_FEW_OLD = 1_000
"""With fewer posts from before a flood than this, as its sender dates it, the baseline is what is older than this:"""
_OLD = timedelta(days=7)
REFUSED_BY = 2
"""Posts raised by a pattern that people here found safe, if they are more than the harmful ones: it goes."""


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
    patterns: Sequence[Pattern],
    key: CircleKey,
    *,
    copies: Iterable[ConfirmedCopy],
    harmless: Collection[frozenset[int]],
    others: Sequence[tuple[Sequence[int], datetime | None]],
    now: datetime,
) -> dict[str, str]:
    """Why new patterns are not used here, by their ids; those that nothing speaks against are not in it.

    Each text is hashed once, whatever the number of patterns.

    Args:
        patterns: That were taken in, all of one key.
        key: That their values are hashed with.
        copies: That people here found harmful. A flood that is here already may have a few safe posts near it: a member
            that knows more of the flood by now shares it under another id. While more of its texts were harmful than
            safe, its first posts and what people decide on them settle it, as :func:`learnt` has it.
        harmless: The checksums of each text that people here found safe.
        others: The lowest checksums of each post that nobody here decided on, and when it was made.
        now: The present.
    """
    value_of = keyed(key.value)
    wanted = frozenset(bytes.fromhex(value) for one in patterns for value in one.values)
    safe = _Texts(((sorted(low)[:LOOKED_UP], None) for low in harmless), value_of, wanted)
    harmful = _Texts(((checksums(one.text, LOOKED_UP), None) for one in copies), value_of, wanted)
    old = _Texts(((low, at) for low, at in others if at is not None), value_of, wanted)
    times = sorted(at for _, at in others if at is not None)
    found = {}
    for one in patterns:
        values = {bytes.fromhex(value) for value in one.values}
        spared = safe.count(values, asked_first=True)
        begun = datetime.combine(week_begins(one.first_week), time(), UTC)
        if (
            bisect_left(times, begun) < _FEW_OLD
        ):  # its sender names the week, and may name one in which nobody was here
            begun = max(begun, now - _OLD)
        count = bisect_left(times, begun)
        hits = old.count(values, before=begun)
        if spared and spared >= harmful.count(values, asked_first=True):
            found[one.id] = "matches what people here found safe"
        elif hits > max(EVERYDAY_LEAST, EVERYDAY_SHARE * count):
            found[one.id] = f"matches {hits} of {count} posts from before its flood"
    return found


class _Texts:
    """Texts by the wanted values that they have; those with too few for a match are not kept."""

    def __init__(
        self,
        texts: Iterable[tuple[Sequence[int], datetime | None]],
        value_of: Callable[[int], bytes],
        wanted: Collection[bytes],
    ) -> None:
        self._kept: list[tuple[frozenset[bytes], datetime | None]] = []
        self._by_value: dict[bytes, list[int]] = {}
        for low, at in texts:
            hashed = [value_of(one) for one in low]
            its = {one for one in hashed if one in wanted}
            if len(its) >= NEEDED:
                for one in its:
                    self._by_value.setdefault(one, []).append(len(self._kept))
                self._kept.append((frozenset(hashed[:ASKED_FIRST]), at))

    def count(
        self, values: Collection[bytes], *, asked_first: bool = False, before: datetime | None = None
    ) -> int:
        """How many of them a pattern with these values matches.

        Args:
            values: Of the pattern.
            asked_first: Whether the matcher would have found it: one of a text's two lowest is among them.
            before: Only those that were made before this.
        """
        hits = Counter(number for value in values for number in self._by_value.get(value, ()))
        found = 0
        for number, shared in hits.items():
            first, at = self._kept[number]
            late = before is not None and (at is None or at >= before)
            found += shared >= NEEDED and not late and not (asked_first and first.isdisjoint(values))
        return found
