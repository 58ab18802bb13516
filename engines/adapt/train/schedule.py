"""Schedule: the learning rate by step, and who is the best so far. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.engines.adapt.train.recipe import Optimiser


def learning_rate(step: int, total: int, optimiser: Optimiser) -> float:
    """Rate of a step, from 0: a straight rise, then half a cosine over the planned steps.

    It knows the plan and not the clock: a training in several sittings has the rates of one in a single sitting.
    """
    warmup = max(1, round(total * optimiser.warmup_share))
    if step < warmup:
        return optimiser.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    falling = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return optimiser.learning_rate * (optimiser.final_share + (1 - optimiser.final_share) * falling)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is. Part of every checkpoint."""

    step: int = 0
    """Steps done; the next one has this index."""
    rows: int = 0
    seconds: float = 0.0
    """Time in steps, over all sittings."""
    best: float | None = None
    """Best macro-F1 on dev."""
    best_rows: int = 0
    strikes: int = 0
    """Measurements since the best one."""

    def measured(self, macro_f1: float) -> Progress:
        """The progress after a measurement."""
        if self.best is None or macro_f1 > self.best:
            return replace(self, best=macro_f1, best_rows=self.rows, strikes=0)
        return replace(self, strikes=self.strikes + 1)
