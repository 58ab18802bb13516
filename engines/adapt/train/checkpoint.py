"""Checkpoint: everything a training needs to go on as if it had never stopped, in one file. Imports torch."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from sluicegate.engines.adapt.train.errors import TrainingError
from sluicegate.engines.adapt.train.model import trainable
from sluicegate.engines.adapt.train.schedule import Progress

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINT = "checkpoint.pt"


def write_checkpoint(path: Path, *, plan: str, model: Any, optimiser: Any, progress: Progress) -> None:
    """Write the adapter in float32, the optimiser, the random generators and the progress.

    Atomic: a process that dies meanwhile leaves the checkpoint before this one.

    Args:
        path: The file.
        plan: Digest of what is being done; the same is asked for when reading.
        model: The adapted model.
        optimiser: Its optimiser.
        progress: How far it is.
    """
    state = {
        "plan": plan,
        "progress": asdict(progress),
        "adapter": {name: one.detach().cpu() for name, one in trainable(model).items()},
        "optimiser": optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def read_checkpoint(path: Path, *, plan: str, model: Any, optimiser: Any) -> Progress:
    """Put a checkpoint's state into model, optimiser and random generators.

    Raises:
        TrainingError: The file cannot be read, or belongs to another recipe or other data.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle name none for a damaged file
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}); give another --out to begin again"
        ) from error
    if state["plan"] != plan:
        raise TrainingError(
            f"{path} is of another recipe, base or data; give those it was made with, or another --out"
        )
    own = trainable(model)
    with torch.no_grad():
        for name, saved in state["adapter"].items():
            own[name].copy_(saved)
    optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return Progress(**state["progress"])
