"""Standing: what a pattern is worth here, by what was here before it, and by what people here decided since. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from sluicegate.pipeline.patterns.circle import CircleKey
from sluicegate.pipeline.patterns.mining import EVERYDAY_LEAST, EVERYDAY_SHARE, ConfirmedCopy
from sluicegate.pipeline.patterns.pattern import Pattern
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


def suspicion(
    pattern: Pattern,
    key: CircleKey,
    *,
    copies: Iterable[ConfirmedCopy],
    harmless: Collection[frozenset[int]],
    others: Sequence[tuple[Sequence[int], datetime | None]],
) -> str | None:
    """Why a new pattern is not used here; None if nothing speaks against it.

    Args:
        pattern: That was taken in.
        key: That its values are hashed with.
        copies: That people here found harmful. A flood that is here already may have a few safe posts near it: a member
            that knows more of the flood by now shares it under another id. While more of its texts were harmful than
            safe, its first posts and what people decide on them settle it, as :func:`learnt` has it.
        harmless: The checksums of each text that people here found safe.
        others: The lowest checksums of each post that nobody here decided on, and when it was made.
    """
    value_of, values = keyed(key.value), {bytes.fromhex(one) for one in pattern.values}
    safe = sum(_raises(sorted(low)[:LOOKED_UP], values, value_of) for low in harmless)
    if safe:
        harmful = sum(_raises(checksums(one.text, LOOKED_UP), values, value_of) for one in copies)
        if safe >= harmful:
            return "matches what people here found safe"
    year, week = map(int, pattern.first_week.split("-W"))
    begun = datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC)
    before = [low for low, at in others if at is not None and at < begun]
    hits = sum(len({value_of(one) for one in low} & values) >= NEEDED for low in before)
    if hits > max(EVERYDAY_LEAST, EVERYDAY_SHARE * len(before)):
        return f"matches {hits} of {len(before)} posts from before its flood"
    return None


def _raises(low: Sequence[int], values: Collection[bytes], value_of: Callable[[int], bytes]) -> bool:
    """True if a pattern with these values raises a text with these lowest checksums, as the matcher has it."""
    hashed = [value_of(one) for one in low]
    return any(one in values for one in hashed[:ASKED_FIRST]) and len({*hashed} & {*values}) >= NEEDED
