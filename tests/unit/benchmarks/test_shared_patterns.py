"""Arithmetic of the study on shared patterns: what is counted, and when it fails."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared_patterns.__main__ import holds, line
from shared_patterns.cost import CostFigures
from shared_patterns.privacy import PrivacyFigures
from shared_patterns.study import figures
from sluicegate.schemas import Action


def verdict(action: Action, *codes: str) -> Any:
    return SimpleNamespace(action=action, reason_codes=codes)


def ledger(*posts: tuple[str, float, str | None, Any]) -> Any:
    sent = {name: (at, flood) for name, at, flood, _ in posts}
    verdicts = {name: (at + 1, one) for name, at, _, one in posts if one is not None}
    raised = {name: at for name, (at, one) in verdicts.items() if one.reason_codes}
    return SimpleNamespace(sent=sent, before=set(), verdicts=verdicts, raised=lambda: raised)


ALLOW, RAISED = verdict(Action.ALLOW), verdict(Action.REVIEW, "shared_pattern_0")
NORTH = ledger(("n0", 0.0, None, ALLOW), ("n1", 10.0, "parcel", verdict(Action.REVIEW)))
SOUTH = ledger(
    ("s1", 20.0, "parcel", ALLOW),  # before the pattern came
    ("s2", 69.0, "parcel", RAISED),
    ("s3", 70.0, "parcel", RAISED),
    ("s4", 80.0, "parcel", ALLOW),
    ("s5", 90.0, "bank", RAISED),
    ("s6", 90.0, None, RAISED),
    *((f"h{number}", 30.0, None, ALLOW) for number in range(99)),
)
FLOOD = figures(NORTH, SOUTH)
COST = CostFigures(167.0, 9.0, 1, 100.0)


def test_what_is_counted() -> None:
    assert FLOOD.found_after_s == 60.0  # the first copy at ten, the first raised at seventy
    assert (FLOOD.copies, FLOOD.harmless, FLOOD.false_raised) == (3, 100, 0.01)
    assert FLOOD.recall == pytest.approx(2 / 3)
    assert FLOOD.recall_by_flood == {"bank": 1.0, "parcel": 0.5}
    assert (FLOOD.blocked_by_pattern, FLOOD.unanswered) == (0, 0)


@pytest.mark.parametrize(
    "bad", [verdict(Action.BLOCK, "shared_pattern_0"), verdict(Action.BLOCK), verdict(Action.ALLOW, "x")]
)
def test_a_block_at_the_second_one_counts(bad: Any) -> None:
    south = ledger(("s1", 20.0, "parcel", RAISED), ("s2", 21.0, None, bad), ("s3", 30.0, "parcel", RAISED))
    assert figures(NORTH, south).blocked_by_pattern == 1


def test_a_post_without_a_verdict_counts() -> None:
    south = ledger(("s1", 20.0, "parcel", RAISED), ("s2", 21.0, None, None), ("s3", 30.0, "parcel", RAISED))
    assert figures(NORTH, south).unanswered == 1


def test_where_no_pattern_raised_anything_there_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no pattern"):
        figures(NORTH, ledger(("s1", 20.0, "parcel", ALLOW)))


def privacy(**fields: Any) -> PrivacyFigures:
    found = PrivacyFigures(patterns=100)
    found.inside[4], found.inside[5], found.outside[4], found.outside[5] = 50, 50, 51, 49
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def test_the_advantage_is_the_largest_gap() -> None:
    assert privacy().advantage == pytest.approx(0.01)


GOOD = replace(FLOOD, false_raised=0.001)


@pytest.mark.parametrize(
    ("flood", "cost", "private", "held"),
    [
        ({}, {}, {}, True),
        ({"found_after_s": 301.0}, {}, {}, False),
        ({"recall": 0.59}, {}, {}, False),
        ({"false_raised": 0.0011}, {}, {}, False),
        ({"blocked_by_pattern": 1}, {}, {}, False),
        ({"unanswered": 1}, {}, {}, False),
        ({}, {"microseconds": 10.1}, {}, False),
        ({}, {"megabytes": 201.0}, {}, False),
        ({}, {}, {"residual": 1}, False),
        ({}, {}, {"scanned": 1}, False),
        ({}, {}, {"outside": [100] + [0] * 8}, False),
    ],
)
def test_every_bound_can_fail(
    flood: dict[str, Any], cost: dict[str, Any], private: dict[str, Any], held: bool
) -> None:
    assert holds(replace(GOOD, **flood), privacy(**private), replace(COST, **cost)) is held


def test_the_line_says_it_all() -> None:
    assert line(GOOD, privacy()) == (
        "patterns: found after 60 s at the other, 66.7% of copies, 0.10% of harmless posts raised, 0 blocked by a pattern alone, "
        "residual personal data 0 of 100, membership advantage 0.010"
    )
    assert cast("object", GOOD) is not None
