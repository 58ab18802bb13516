"""The loop: step, measure, write down, until the plan is done or somebody wants an end. Imports torch.

Each step: rate by the schedule → gradients of its micro-batches, summed → one move of the optimiser → log. Between
steps, at fixed rows: a measurement on dev. Between steps, at intervals of time and at the end: a checkpoint. Steps and
measurements depend on the plan alone, so that when checkpoints fall changes nothing.
"""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from peft.helpers import disable_input_dtype_casting

from sluicegate.engines.adapt.train import model
from sluicegate.engines.adapt.train.log import CURVES, LOG, Log, by_language, draw, read_log, summary
from sluicegate.engines.adapt.train.model import (
    CHECKPOINT,
    collate,
    judge,
    loss_sum,
    read_checkpoint,
    weight_of,
    write_checkpoint,
)
from sluicegate.engines.adapt.train.plan import TrainingEstimate, TrainingOutcome, TrainingPlan
from sluicegate.engines.adapt.train.recipe import Stop, TrainingProgress, learning_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


ADAPTER, BEST = "adapter", "best"
_REPORT_EVERY_S = 30.0
_RATE_STEPS = 20  # the speed shown is that of this many newest steps


class Training:
    """An adapter in training.

    Args:
        plan: What to do.
        device: ``cpu``, ``cuda``, …
        loaded: The base's weights, in place of reading them; changed.
        kept: Folder where a GGUF's dequantised weights are kept for the next sitting; None keeps none.
    """

    def __init__(
        self, plan: TrainingPlan, *, device: str, loaded: Any = None, kept: Path | None = None
    ) -> None:
        recipe = plan.recipe
        base = model.load_base(plan.base, recipe, device, kept=kept) if loaded is None else loaded
        self.plan = plan
        self.device = device
        self.model: Any = model.add_adapter(base, recipe.lora, seed=recipe.seed, start_from=recipe.start_from)
        self.model.train()
        self._parameters = list(model.trainable(self.model).values())
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=recipe.optimiser.learning_rate, weight_decay=recipe.optimiser.weight_decay
        )
        self.progress = TrainingProgress()

    def step(self) -> float:
        """Train on the next step's rows.

        Returns:
            The step's loss: the weighted mean of its completions' cross entropies.
        """
        wanted = self.plan.recipe.optimiser
        parts = self.plan.steps[self.progress.step]
        examples = [[self.plan.train[index] for index in part] for part in parts]
        weight = sum(weight_of(part, wanted.label_weight) for part in examples)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.progress.step, len(self.plan.steps), wanted)
        began, total = time.monotonic(), 0.0
        for part in examples:
            batch = collate(part, label_weight=wanted.label_weight, device=self.device)
            with self._autocast():
                loss = loss_sum(self.model, batch) / weight
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self._parameters, wanted.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.progress = replace(
            self.progress,
            step=self.progress.step + 1,
            rows=self.progress.rows + sum(map(len, parts)),
            seconds=self.progress.seconds + time.monotonic() - began,
        )
        return total

    def measure(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Measures on the dev sample, over all and by language."""
        with self._autocast():
            judged = judge(
                self.model,
                self.plan.dev,
                self.plan.base.labels.first_ids(),
                micro_tokens=self.plan.recipe.optimiser.micro_tokens,
                device=self.device,
            )
        return summary(judged), by_language(judged)

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        write_checkpoint(
            path,
            plan=self.plan.digest,
            model=self.model,
            optimiser=self._optimiser,
            progress=self.progress,
        )

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            TrainingError: It belongs to something else, or cannot be read.
        """
        self.progress = read_checkpoint(
            path, plan=self.plan.digest, model=self.model, optimiser=self._optimiser
        )

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        """Products in bf16, if the recipe says so.

        peft would first bring each input to the adapter's float32, only for it to be brought back: the sums are
        the same without.
        """
        if self.plan.recipe.precision == "float32":
            yield
            return
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16), disable_input_dtype_casting(self.model):
            yield


def sit(
    training: Training, out: Path, *, stop: Stop, checkpoint_minutes: float, report: Callable[[str], None]
) -> TrainingOutcome:
    """One sitting: from the last checkpoint in ``out`` to the end of the plan, or of the sitting.

    Args:
        training: Fresh; a checkpoint in ``out`` is resumed.
        out: Folder of checkpoint, adapter, log and curves.
        stop: Asked after every step.
        checkpoint_minutes: Time between checkpoints.
        report: Called with one line now and then.

    Raises:
        TrainingError: The checkpoint in ``out`` belongs to something else.
    """
    plan = training.plan
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        training.resume(checkpoint)
        report(f"going on at row {training.progress.rows:,} of {plan.recipe.data.planned_rows:,}")
    log = Log(out / LOG, from_step=training.progress.step)
    speed = _Speed()
    written = said = time.monotonic()
    while True:
        if training.progress.step >= len(plan.steps):
            outcome = TrainingOutcome("the plan is done", training.progress, finished=True)
        elif plan.recipe.dev.patience and training.progress.strikes >= plan.recipe.dev.patience:
            outcome = TrainingOutcome("dev got no better", training.progress, finished=True)
        elif stop.reason:
            outcome = TrainingOutcome(stop.reason, training.progress, finished=False)
        else:
            loss = training.step()
            speed.add(training.progress)
            _note(training, log, loss, speed)
            if time.monotonic() - said >= _REPORT_EVERY_S:
                said = time.monotonic()
                report(_line(training, loss, speed))
            if not stop.reason and _dev_is_due(training):
                _measure(training, log, out, report)
            if time.monotonic() - written >= 60 * checkpoint_minutes:
                _write(training, out)
                written = time.monotonic()
            continue
        _write(training, out)
        return outcome


class _Speed:
    """Rows a second of the newest steps."""

    def __init__(self) -> None:
        self._newest: list[tuple[int, float]] = []

    def add(self, progress: TrainingProgress) -> None:
        self._newest = [*self._newest[-_RATE_STEPS:], (progress.rows, progress.seconds)]

    @property
    def rows_per_s(self) -> float | None:
        (rows, seconds), (rows_now, seconds_now) = self._newest[0], self._newest[-1]
        return (rows_now - rows) / (seconds_now - seconds) if seconds_now > seconds else None


def _note(training: Training, log: Log, loss: float, speed: _Speed) -> None:
    done = training.progress
    rate = learning_rate(done.step - 1, len(training.plan.steps), training.plan.recipe.optimiser)
    log.add(
        "step",
        done.step,
        rows=done.rows,
        loss=round(loss, 5),
        learning_rate=rate,
        seconds=round(done.seconds, 2),
        rows_per_s=round(speed.rows_per_s, 3) if speed.rows_per_s else None,
    )


def _line(training: Training, loss: float, speed: _Speed) -> str:
    done, planned = training.progress, training.plan.recipe.data.planned_rows
    line = f"row {done.rows:,} of {planned:,}  loss {loss:.3f}"
    if speed.rows_per_s:
        hours = (planned - done.rows) / speed.rows_per_s / 3600
        line += f"  {speed.rows_per_s:.2f} rows/s  {hours:.1f} h left"
    return line


def _dev_is_due(training: Training) -> bool:
    """True once whenever the rows pass a multiple of the interval, and at the end of the plan."""
    every, batch = training.plan.recipe.dev.every_rows, training.plan.recipe.optimiser.batch_rows
    done = training.progress
    passed = done.rows // every > (done.rows - batch) // every
    return bool(training.plan.dev) and (passed or done.step == len(training.plan.steps))


def _measure(training: Training, log: Log, out: Path, report: Callable[[str], None]) -> None:
    began = time.monotonic()
    whole, languages = training.measure()
    training.progress = training.progress.measured(whole["macro_f1"])
    done = training.progress
    log.add(
        "dev",
        done.step,
        **{**whole, "dev_rows": int(whole["rows"]), "rows": done.rows},
        by_language=languages,
        seconds=round(time.monotonic() - began, 1),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )
    report(
        f"dev at row {done.rows:,}: "
        + "  ".join(f"{name} {value:.3f}" for name, value in whole.items() if name != "rows")
    )
    if done.best_rows == done.rows:
        model.write_adapter(training.model, out / BEST)


def _write(training: Training, out: Path) -> None:
    training.save(out / CHECKPOINT)
    model.write_adapter(training.model, out / ADAPTER)
    _draw(read_log(out / LOG), out, training.plan.recipe.data.planned_rows)


def _draw(entries: Sequence[dict[str, Any]], out: Path, planned_rows: int) -> None:
    if entries:
        draw(entries, out / CURVES, planned_rows=planned_rows)


_STEPS = 3


def measure(training: Training) -> TrainingEstimate:
    """Train a few steps, the one with the most tokens at once among them, and count. The training is spent."""
    plan = training.plan
    longest = max(
        range(len(plan.steps)), key=lambda step: max(_tokens(training, part) for part in plan.steps[step])
    )
    tokens, seconds = 0, 0.0
    for turn, index in enumerate((0, *range(min(_STEPS, len(plan.steps))), longest)):
        training.progress = TrainingProgress(step=index)
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
    return TrainingEstimate(
        peak_mib=peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        tokens_per_s=tokens / seconds,
        train_hours=plan.padded_tokens / (tokens / seconds) / 3600,
        dev_hours=dev_hours,
    )


def _tokens(training: Training, part: list[int]) -> int:
    return len(part) * max(training.plan.train[index].tokens for index in part)
