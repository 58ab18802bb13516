"""Standing: people here decide; a pattern of a benign phrase is put away."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.patterns import standing as module
from sluicegate.pipeline.patterns.sketch import KEPT, LOOKED_UP, NEEDED, checksums, keyed
from sluicegate.pipeline.patterns.standing import (
    CONFIRMED_BY,
    REFUSED_BY,
    Standing,
    learnt,
    seen_here,
    suspicions,
)
from unit.pipeline.patterns.circles import CIRCLE, NOW, TODAY, confirmed, feed, flood

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sluicegate.pipeline.patterns.mining import ConfirmedCopy
    from sluicegate.pipeline.patterns.pattern import Pattern

KEY = CIRCLE.keys[0]
KEYED = keyed(KEY.value)
(PATTERN,) = feed(flood()).patterns
LAST_YEAR = NOW - timedelta(days=365)
PLAIN = "the library opens at nine and closes when the last reader has gone home for the day"


def suspicion(
    pattern: Pattern = PATTERN,
    *,
    copies: Sequence[ConfirmedCopy] = (),
    harmless: Collection[frozenset[int]] = (),
    others: Sequence[tuple[Sequence[int], datetime | None]] = (),
    taken: date = TODAY,
) -> str | None:
    return suspicions([(pattern, taken)], KEY, copies=copies, harmless=harmless, others=others).get(
        pattern.id
    )


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
    found = suspicion(copies=copies, harmless=texts)
    assert found == (None if used else "matches what people here found safe")


def test_a_safe_text_that_the_pattern_would_not_raise_says_nothing_against_it() -> None:
    low = sorted(checksums(flood()[0], KEPT))
    text = frozenset([*range(1, LOOKED_UP + 1), *low])
    assert suspicion(harmless=[text]) is None


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
    found = suspicion(others=others(copies, plain, at))
    assert (found is None) is used


@pytest.mark.parametrize(
    ("days", "harmful", "used"),
    [
        (10, 0, False),
        (1, 0, True),  # it may be the flood, which came here before its pattern
        (10, 1, True),  # people here found it harmful: old posts may be of the flood, too
    ],
)
def test_a_member_that_dates_its_pattern_back_does_not_switch_the_look_off(
    days: int, harmful: int, used: bool
) -> None:
    ancient = PATTERN.model_copy(update={"first_week": "1990-W01"})
    posts = others(60, 500, NOW - timedelta(days=days))
    found = suspicion(ancient, copies=confirmed(flood(harmful)) if harmful else (), others=posts)
    assert (found is None) is used


def test_where_its_week_leaves_enough_posts_old_copies_of_the_flood_say_nothing_against_it() -> None:
    begun = PATTERN.model_copy(
        update={"first_week": f"{TODAY.year - 1}-W20", "last_week": f"{TODAY.year}-W01"}
    )
    before = others(0, 1_000, NOW - timedelta(days=700))
    assert suspicion(begun, others=[*before, *others(60, 0, NOW - timedelta(days=10))]) is None
    assert suspicion(begun, others=others(60, 0, NOW - timedelta(days=10))) is not None


def test_each_text_is_hashed_once_however_many_patterns_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever revokes one waits for it."""
    hashed = []

    def counting(secret: bytes) -> Callable[[int], bytes]:
        value_of = keyed(secret)
        return lambda checksum: (hashed.append(checksum), value_of(checksum))[1]  # type: ignore[func-returns-value]  # in passing

    monkeypatch.setattr(module, "keyed", counting)
    new = [(PATTERN.model_copy(update={"id": f"{number:016x}"}), TODAY) for number in range(300)]
    posts = [([100 * number + one for one in range(4)], LAST_YEAR) for number in range(2_000)]
    began = time.process_time()
    assert suspicions(new, KEY, copies=(), harmless=(), others=posts) == {}
    assert len(hashed) == 8_000
    assert time.process_time() - began < 5


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
