"""The trigger: whether a cycle is worth it now. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from datetime import datetime


class TriggerLimits(BaseModel):
    """When a cycle is worth its hours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_new: int = Field(default=200, ge=1, description="Corrections that no model has learnt from.")
    most_days: float = Field(
        default=28, gt=0, description="After so many days, any new correction is enough."
    )
    wrong_rate: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="A live engine that is surely wrong this often waits for nothing.",
    )


class TriggerDecision(NamedTuple):
    """Whether, and why."""

    worth_it: bool
    why: str


def decide_trigger(
    limits: TriggerLimits,
    *,
    new_rows: int,
    erased_rows: int,
    left_out: int = 0,
    last_at: datetime | None,
    now: datetime,
    wrong_low: float,
) -> TriggerDecision:
    """Decide. Equal arguments give equal decisions.

    Args:
        limits: What the file of the cycle says.
        new_rows: Rows that the last snapshot that was trained on does not have.
        erased_rows: Rows that the newest bundle learnt from and whose authors were erased since: their certificates promise
            a model without them.
        left_out: Rows of the last snapshot that nothing was learnt from. They are not new, and would be left out again.
        last_at: When that was; None if there was none.
        now: The time.
        wrong_low: Lower bound of the live engine's error rate, from the uniform stream; 0 where nothing is known.
    """
    if erased_rows:
        return TriggerDecision(
            True, f"the newest bundle learnt from {erased_rows:,} rows that were erased since"
        )
    if new_rows == 0:
        beside = (
            f"; {left_out:,} rows were left out of it, and rows.json in its folder says why"
            if left_out
            else ""
        )
        return TriggerDecision(
            False, f"no decision came since the last training; nothing can be learnt{beside}"
        )
    if new_rows >= limits.least_new:
        return TriggerDecision(True, f"{new_rows:,} new rows, and {limits.least_new:,} are enough")
    if wrong_low > limits.wrong_rate:
        return TriggerDecision(
            True,
            f"the live engine is wrong on more than {wrong_low:.1%} of the posts that it settles, and may be on {limits.wrong_rate:.1%}",
        )
    days = None if last_at is None else (now - last_at).total_seconds() / 86_400
    if days is not None and days > limits.most_days:
        return TriggerDecision(
            True, f"the last training was {days:.0f} days ago, and {new_rows:,} rows are new"
        )
    return TriggerDecision(
        False, f"not worth it yet: {new_rows:,} new rows of {limits.least_new:,}; force it with --force"
    )
