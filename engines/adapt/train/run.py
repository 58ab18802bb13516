"""The door: from a recipe, a folder of rows and a folder for the result to a trained adapter.

Loads torch when everything else is known to be in order.
"""

from __future__ import annotations

import fcntl
import importlib.util
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.plan import TrainingEstimate, TrainingOutcome, TrainingPlan, make_plan
from sluicegate.engines.adapt.train.recipe import Stop, TrainingRecipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


PLAN = "plan.json"
BASE = "base"
"""Folder of a GGUF's dequantised weights, which one sitting keeps for the next. It can be deleted."""
LIBRARIES = ("torch", "transformers", "peft", "safetensors", "matplotlib")


def require_libraries() -> None:
    """Make sure that the libraries of the extra are there, without loading them.

    Raises:
        TrainingError: Which one is not, and how to get it.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"{missing[0]} is missing: pip install 'sluicegate[adapt]', best in an environment of its own (about 6 GB)"
        )


def train(
    recipe: TrainingRecipe,
    data: Path,
    out: Path,
    *,
    minutes: float | None,
    checkpoint_minutes: float,
    threads: int | None,
    report: Callable[[str], None],
) -> TrainingOutcome:
    """Train, or go on with what ``out`` holds. Blocking; SIGTERM and Ctrl-C write a checkpoint and end it.

    Args:
        recipe: What to train.
        data: Folder of prepared rows.
        out: Folder for checkpoint, adapter, log and curves.
        minutes: Length of this sitting; None for no limit.
        checkpoint_minutes: Time between checkpoints.
        threads: Of the CPU; None leaves torch its own choice.
        report: Called with one line now and then.

    Raises:
        TrainingError: What does not fit, and the fix.
    """
    require_libraries()
    stop = Stop(minutes)
    with _only_one(out), stop.on_signals():
        plan = make_plan(recipe, data)
        _claim(out, plan)
        report(_told(plan))
        from sluicegate.engines.adapt.train.loop import Training, sit  # noqa: PLC0415 - loads torch

        training = Training(plan, device=_device(threads), kept=out / BASE)
        return sit(training, out, stop=stop, checkpoint_minutes=checkpoint_minutes, report=report)


def estimate(
    recipe: TrainingRecipe, data: Path, *, threads: int | None, report: Callable[[str], None]
) -> TrainingEstimate:
    """Memory and time of a training, measured on a few of its steps. Nothing is written.

    Raises:
        TrainingError: What does not fit, and the fix.
    """
    require_libraries()
    plan = make_plan(recipe, data)
    report(_told(plan))
    from sluicegate.engines.adapt.train.loop import Training, measure  # noqa: PLC0415 - loads torch

    return measure(Training(plan, device=_device(threads)))


def _device(threads: int | None) -> str:
    import torch  # noqa: PLC0415 - gigabytes

    if threads is not None:
        torch.set_num_threads(threads)
    return "cuda" if torch.cuda.is_available() else "cpu"


def _told(plan: TrainingPlan) -> str:
    facts = plan.facts()
    languages = ", ".join(f"{language} {count:,}" for language, count in facts["languages"].items())
    return (
        f"{facts['planned_rows']:,} rows in {facts['steps']:,} steps from {facts['examples']:,} examples "
        f"({languages}); {facts['dev_rows']} to measure on"
    )


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it if the process dies."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("a")
    except OSError as error:
        raise TrainingError(f"{out} cannot be written to ({error.strerror}); give another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(f"{out} is in use by another training; give another --out") from error
        yield


def _claim(out: Path, plan: TrainingPlan) -> None:
    """Write the plan beside the result, or make sure that it is the one there."""
    path = out / PLAN
    document: dict[str, Any] = {**plan.facts(), "recipe": plan.recipe.model_dump(mode="json")}
    if path.exists() and orjson.loads(path.read_bytes()).get("digest") != plan.digest:
        raise TrainingError(
            f"{out} holds a training of another recipe, base or data; give another --out, or what it was made with"
        )
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
