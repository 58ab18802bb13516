"""One training: what a new model may lose."""

from __future__ import annotations

from pathlib import Path

from sluicegate.engines.adapt.cycle.plan import CyclePlan
from sluicegate.engines.adapt.cycle.slices import SliceChange, TaughtChange
from sluicegate.engines.adapt.cycle.training import too_much_lost


def lost(untouched: SliceChange, **limits: float) -> str | None:
    plan = CyclePlan.model_validate({"core": [Path("core")], "recipe": Path("recipe"), **limits})
    month = SliceChange(200, 0.5, 0.55)
    return too_much_lost(TaughtChange(SliceChange(100, 0.0, 1.0), untouched, {"2026-11": month}), plan)


def test_cases_whose_verdict_people_confirmed_may_not_get_worse_behind_a_month_that_gained() -> None:
    assert "confirmed lost 90.0%, and may lose 5.0%" in str(lost(SliceChange(100, 1.0, 0.1)))
    assert lost(SliceChange(100, 1.0, 0.96)) is None
    assert lost(SliceChange(100, 1.0, 0.1), worst_untouched=0.95) is None
    assert lost(SliceChange(0, 0.0, 0.0)) is None
