"""The trigger: each way to yes and to no."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.engines.adapt.cycle.trigger import TriggerLimits, decide_trigger

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("new_rows", "days", "wrong_low", "worth_it", "why"),
    [
        (0, 400.0, 1.0, False, "no decision came"),
        (200, 1.0, 0.0, True, "200 new rows"),
        (199, 1.0, 0.0, False, "not worth it yet: 199 new rows of 200"),
        (1, 29.0, 0.0, True, "29 days ago"),
        (1, 28.0, 0.0, False, "not worth it yet"),
        (1, None, 0.0, False, "not worth it yet"),
        (1, 1.0, 0.06, True, "wrong on more than 6.0%"),
        (1, 1.0, 0.05, False, "not worth it yet"),
    ],
)
def test_when_a_cycle_is_worth_it(
    new_rows: int, days: float | None, wrong_low: float, worth_it: bool, why: str
) -> None:
    last = None if days is None else NOW - timedelta(days=days)
    found = decide_trigger(
        TriggerLimits(), new_rows=new_rows, erased_rows=0, last_at=last, now=NOW, wrong_low=wrong_low
    )
    assert found.worth_it is worth_it
    assert why in found.why


def test_a_model_that_learnt_from_an_erased_author_is_trained_anew_at_once() -> None:
    found = decide_trigger(TriggerLimits(), new_rows=0, erased_rows=2, last_at=NOW, now=NOW, wrong_low=0.0)
    assert found.worth_it
    assert "2 rows that were erased" in found.why
