"""A pattern says each thing once, and what it says is so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns.pattern import Feed, monday
from unit.pipeline.patterns.circles import feed, flood

if TYPE_CHECKING:
    from sluicegate.pipeline.patterns.pattern import Pattern

ONE = feed(flood())
(PATTERN,) = ONE.patterns


def with_pattern(**fields: Any) -> Feed:
    changed: Pattern = PATTERN.model_copy(update=fields)
    return ONE.model_copy(update={"patterns": (changed,)})


@pytest.mark.parametrize(
    "fields",
    [
        {"values": PATTERN.values[:1] * 3},
        {"values": (*PATTERN.values[:3], PATTERN.values[0])},
        {"first_week": "2026-W99"},
        {"first_week": "0000-W00"},
        {"first_week": "2025-W53"},  # that year has 52
        {"first_week": "2026-W02", "last_week": "2026-W01"},
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(PatternError, match="no feed of patterns"):
        Feed.decode(with_pattern(**fields).encode())


def test_a_year_of_53_weeks_has_them() -> None:
    long = with_pattern(first_week="2026-W53", last_week="2026-W53")
    assert Feed.decode(long.encode()) == long
    assert str(monday("2026-W53")) == "2026-12-28"
