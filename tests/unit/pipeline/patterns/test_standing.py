"""Standing: people here decide; a pattern of a benign phrase is put away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.patterns import standing
from sluicegate.pipeline.patterns.sketch import KEPT, LOOKED_UP, NEEDED, checksums, keyed
from sluicegate.pipeline.patterns.standing import (
    CONFIRMED_BY,
    REFUSED_BY,
    Standing,
    learnt,
    seen_here,
    suspicions,
)
from unit.pipeline.patterns.circles import CIRCLE, NOW, confirmed, feed, flood

if TYPE_CHECKING:
    from sluicegate.pipeline.patterns.pattern import Pattern

KEY = CIRCLE.keys[0]
KEYED = keyed(KEY.value)
(PATTERN,) = feed(flood()).patterns
LAST_YEAR = NOW - timedelta(days=365)
PLAIN = "the library opens at nine and closes when the last reader has gone home for the day"


@pytest.mark.parametrize(
    ("now", "harmful", "safe", "then"),
    [
        ("seed", CONFIRMED_BY - 1, 0, "seed"),
        ("seed", CONFIRMED_BY, 0, "confirmed"),
        ("seed", CONFIRMED_BY, 1, "seed"),
        ("seed", 20, 1, "confirmed"),
        ("seed", 0, REFUSED_BY - 1, "seed"),
        ("seed", 0, REFUSED_BY, "refused"),
        ("confirmed", 2, 3, "refused"),
        ("confirmed", 3, 3, "seed"),
        ("confirmed", 19, 1, "seed"),
        ("confirmed", 20, 1, "confirmed"),
        ("confirmed", 0, 0, "confirmed"),  # its cases have left their topic
        ("revoked", 50, 0, "revoked"),
        ("poisoned", 50, 0, "poisoned"),
        ("refused", 50, 0, "refused"),
    ],
)
def test_people_here_decide_and_what_is_gone_stays_away(
    now: Standing, harmful: int, safe: int, then: Standing
) -> None:
    assert learnt(now, harmful=harmful, safe=safe) == then


def suspicion(pattern: Pattern, *, now: datetime = NOW, **held: Any) -> str | None:
    return suspicions([pattern], KEY, **held, now=now).get(pattern.id)


def others(copies: int, plain: int, at: datetime | None) -> list[tuple[list[int], datetime | None]]:
    low = [checksums(flood()[0], LOOKED_UP)] * copies + [checksums(PLAIN, LOOKED_UP)] * plain
    return [(one, at) for one in low]


@pytest.mark.parametrize(
    ("harmful", "safe", "used"), [(0, 1, False), (1, 1, False), (2, 1, True), (5, 6, False)]
)
def test_a_phrase_that_people_here_found_safe_is_not_used_unless_they_found_more_of_it_harmful(
    harmful: int, safe: int, used: bool
) -> None:
    texts = [frozenset(checksums(flood()[0], KEPT))] * safe
    copies = confirmed(flood(harmful)) if harmful else []
    found = suspicion(PATTERN, copies=copies, harmless=texts, others=[])
    assert found == (None if used else "matches what people here found safe")


def test_a_safe_text_that_the_pattern_would_not_raise_says_nothing_against_it() -> None:
    low = sorted(checksums(flood()[0], KEPT))
    text = frozenset([*range(1, LOOKED_UP + 1), *low])
    assert suspicion(PATTERN, copies=[], harmless=[text], others=[]) is None


@pytest.mark.parametrize(
    ("copies", "plain", "at", "used"),
    [
        (6, 500, LAST_YEAR, False),
        (5, 500, LAST_YEAR, True),
        (6, 10_000, LAST_YEAR, True),
        (60, 500, datetime.now(UTC), True),  # the flood itself, which came here, too
        (60, 500, None, True),
    ],
)
def test_a_phrase_that_was_here_before_the_flood_is_not_used(
    copies: int, plain: int, at: datetime | None, used: bool
) -> None:
    found = suspicion(
        PATTERN, copies=[], harmless=(), others=others(copies, plain, at), now=datetime.now(UTC)
    )
    assert (found is None) is used


@pytest.mark.parametrize(("days", "used"), [(8, False), (6, True)])
def test_its_sender_cannot_choose_a_week_in_which_nobody_was_here(days: int, used: bool) -> None:
    old = PATTERN.model_copy(update={"first_week": "1990-W01"})
    found = suspicion(old, copies=[], harmless=(), others=others(60, 500, NOW - timedelta(days=days)))
    assert found == (None if used else "matches 60 of 560 posts from before its flood")


def test_a_text_is_hashed_once_for_all_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(key: bytes) -> Any:
        value_of = keyed(key)

        def value(checksum: int) -> bytes:
            asked.append(checksum)
            return value_of(checksum)

        return value

    monkeypatch.setattr(standing, "keyed", counted)
    many = [PATTERN.model_copy(update={"id": f"{number:016x}"}) for number in range(50)]
    found = suspicions(many, KEY, copies=[], harmless=(), others=others(6, 500, LAST_YEAR), now=NOW)
    assert found.keys() == {one.id for one in many}
    assert len(asked) <= 506 * LOOKED_UP


def test_a_greeting_that_rides_on_a_flood_is_not_confirmed_with_it() -> None:
    """The flood is harmful, and confirms the pattern; the greeting in it must not be acted on."""
    greeting = "happy birthday to you my dear old friend and many years of joy and good health for you"
    greets = [KEYED(one).hex() for one in checksums(greeting, LOOKED_UP)]
    trojan = PATTERN.model_copy(update={"values": (*PATTERN.values[:8], *greets)})
    found = seen_here(trojan, KEY, confirmed(flood()), harmless=())
    assert len(found) >= NEEDED
    assert not set(found) & set(greets)


def test_what_one_author_wrote_or_people_here_found_safe_is_not_confirmed() -> None:
    assert seen_here(PATTERN, KEY, confirmed(flood(), authors=1), harmless=()) == ()
    assert (
        seen_here(
            PATTERN, KEY, confirmed(flood()), harmless=[frozenset(checksums(one, KEPT)) for one in flood()]
        )
        == ()
    )
