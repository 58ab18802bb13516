"""Estimate: memory and time of a plan, measured on a few of its steps. Imports torch."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sluicegate.engines.adapt.train.schedule import Progress

if TYPE_CHECKING:
    from sluicegate.engines.adapt.train.loop import Training

_STEPS = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training takes on this machine as busy as it is now."""

    peak_mib: int
    """Most memory so far: of the GPU if there is one, else of the process."""
    tokens_per_s: float
    """Padded tokens."""
    train_hours: float
    dev_hours: float


def measure(training: Training) -> Estimate:
    """Train a few steps, the one with the most tokens at once among them, and count. The training is spent."""
    plan = training.plan
    longest = max(
        range(len(plan.steps)), key=lambda step: max(_tokens(training, part) for part in plan.steps[step])
    )
    tokens, seconds = 0, 0.0
    for turn, index in enumerate((0, *range(min(_STEPS, len(plan.steps))), longest)):
        training.progress = Progress(step=index)
        training.step()
        if turn:  # the first one warms up
            tokens += sum(_tokens(training, part) for part in plan.steps[index])
            seconds += training.progress.seconds
    began = time.monotonic()
    dev_hours = 0.0
    if plan.dev:
        training.measure()
        times = plan.recipe.data.planned_rows // plan.recipe.dev.every_rows + 1
        dev_hours = (time.monotonic() - began) * times / 3600
    on_gpu = torch.device(training.device).type == "cuda"
    peak = torch.cuda.max_memory_allocated() // 2**20 if on_gpu else 0
    return Estimate(
        peak_mib=peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        tokens_per_s=tokens / seconds,
        train_hours=plan.padded_tokens / (tokens / seconds) / 3600,
        dev_hours=dev_hours,
    )


def _tokens(training: Training, part: list[int]) -> int:
    return len(part) * max(training.plan.train[index].tokens for index in part)
