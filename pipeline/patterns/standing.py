"""Standing: what a pattern is worth here, by what was here before it, and by what people here decided since. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from sluicegate.pipeline.patterns.circle import CircleKey
from sluicegate.pipeline.patterns.pattern import Pattern
from sluicegate.pipeline.patterns.sketch import NEEDED, keyed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Standing = Literal["seed", "confirmed", "refused", "revoked", "poisoned"]
"""Only the first two raise posts."""

CONFIRMED_BY = 5
"""Posts raised by a pattern that people here found harmful: from then on it raises as many as come."""
_HARMFUL_PER_SAFE = 20
"""So many harmful ones for each that was safe, or it is not confirmed."""
REFUSED_BY = 2
"""Posts raised by a pattern that people here found safe, if they are more than the harmful ones: it goes."""
SUSPECT_SHARE = 0.001
SUSPECT_LEAST = 5
"""A pattern that matches more of the posts from before its flood is no sign of the flood."""


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
    if harmful >= CONFIRMED_BY and _HARMFUL_PER_SAFE * safe <= harmful:
        return "confirmed"
    return now


def suspicion(
    pattern: Pattern,
    key: CircleKey,
    *,
    harmless: Collection[int],
    others: Sequence[tuple[Sequence[int], datetime | None]],
) -> str | None:
    """Why a new pattern is not used here; None if nothing speaks against it.

    Args:
        pattern: That was taken in.
        key: That its values are hashed with.
        harmless: Checksums of texts that people here found safe.
        others: The lowest checksums of each post that nobody here decided on, and when it was made.
    """
    value_of, values = keyed(key.value), {bytes.fromhex(one) for one in pattern.values}
    if sum(value_of(one) in values for one in harmless) >= NEEDED:
        return "matches what people here found safe"
    year, week = map(int, pattern.first_week.split("-W"))
    begun = datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC)
    before = [low for low, at in others if at is not None and at < begun]
    hits = sum(len({value_of(one) for one in low} & values) >= NEEDED for low in before)
    if hits > max(SUSPECT_LEAST, SUSPECT_SHARE * len(before)):
        return f"matches {hits} of {len(before)} posts from before its flood"
    return None
