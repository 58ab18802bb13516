"""The plan: everything a training will do, decided before torch is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluicegate.engines.adapt.data.public_benchmarks import PublicBenchmarks
from sluicegate.engines.adapt.data.row_reader import field_faults
from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.base import OpenedBase, open_base
from sluicegate.engines.adapt.train.examples import (
    ExampleMaker,
    TrainingExample,
    mixture,
    one_sided_languages,
    order_digest,
    plan,
    steps,
    stratified,
)
from sluicegate.engines.adapt.train.recipe import TrainingProgress, TrainingRecipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_FIX = "prepare the data with sluicegate adapt prepare"


def read_rows(folder: Path) -> tuple[list[Row], list[Row]]:
    """Rows that train, and rows that only measure; the latter may be none.

    Raises:
        TrainingError: A file is missing, a line is no row, a row stands on the wrong side, or it is of a public
            benchmark.
    """
    train, dev = _read(folder / "train.jsonl", "train"), _read(folder / "dev.jsonl", "dev")
    if not train:
        raise TrainingError(f"{folder / 'train.jsonl'} has no rows; {_FIX}")
    both = {row.id for row in train} & {row.id for row in dev}
    if both:
        raise TrainingError(f"{folder}: {len(both)} ids stand in train.jsonl and in dev.jsonl; {_FIX}")
    return train, dev


def _read(path: Path, split: str) -> list[Row]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}); {_FIX}") from error
    benchmarks = PublicBenchmarks.shipped()
    return [
        _row(path, number, line, split, benchmarks) for number, line in enumerate(lines, 1) if line.strip()
    ]


def _row(path: Path, number: int, line: bytes, split: str, benchmarks: PublicBenchmarks) -> Row:
    try:
        row = Row.model_validate_json(line)
    except ValidationError as error:
        fault = field_faults(error)[0]
        raise TrainingError(
            f"{path}:{number}: {fault.field}: {fault.wrong}; {fault.right}, or {_FIX}"
        ) from None
    if row.split not in (None, split):
        raise TrainingError(f"{path}:{number}: a row of the split {row.split}; {_FIX}")
    if name := benchmarks.name_of(row):
        raise TrainingError(
            f"{path}:{number}: a row of the public benchmark {name}, by its id, source or text; leave all its rows "
            "out, or what is measured on it means nothing"
        )
    return row


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Examples, their order, and what they are measured against."""

    recipe: TrainingRecipe
    base: OpenedBase
    train: tuple[TrainingExample, ...]
    dev: tuple[TrainingExample, ...]
    steps: tuple[list[list[int]], ...]
    """By step: micro-batches of indices into ``train``."""
    digest: str
    """Over recipe, base and the token ids in their order. Two trainings with one digest do the same."""
    left_out: dict[str, int]
    """Rows that do not train, by reason."""

    @property
    def padded_tokens(self) -> int:
        """Tokens computed in training, padding included."""
        return sum(
            len(part) * max(self.train[index].tokens for index in part) for one in self.steps for part in one
        )

    def facts(self) -> dict[str, Any]:
        """What a person wants to know before it starts."""
        planned = [self.train[index] for one in self.steps for part in one for index in part]
        return {
            "base": self.base.name,
            "layout": self.base.layout.name,
            "layout_digest": self.base.layout.digest,
            "tokenizer_digest": self.base.tokenizer.digest,
            "examples": len(self.train),
            "planned_rows": len(planned),
            "steps": len(self.steps),
            "languages": mixture(planned),
            "texts_cut": sum(example.cut for example in planned),
            "reasons": sum(example.reason for example in planned),
            "left_out": self.left_out,
            "dev_rows": len(self.dev),
            "digest": self.digest,
        }


def make_plan(recipe: TrainingRecipe, data: Path, *, base: OpenedBase | None = None) -> TrainingPlan:
    """Read base and rows, make the examples and decide their order.

    Args:
        recipe: What is wanted.
        data: Folder of prepared rows.
        base: Opened already, in place of the recipe's.

    Raises:
        TrainingError: Nothing is left to train on, or recipe and data do not go together.
    """
    base = base or open_base(recipe.base)
    train_rows, dev_rows = read_rows(data)
    one_sided = one_sided_languages(train_rows) if recipe.data.one_sided_languages == "leave_out" else set()
    maker = ExampleMaker(base, max_tokens=recipe.data.max_tokens, hinted_share=recipe.data.hinted_share)
    chosen = _others(train_rows, one_sided)
    train, no_room = maker.make_all(chosen)
    if not train:
        raise TrainingError(f"{data}: every language has rows of one severity only; add others, or keep them")
    dev, _ = maker.make_all(_others(dev_rows, one_sided))
    if recipe.dev.rows and not dev:
        raise TrainingError(f"{data}: dev.jsonl has no rows to measure on; add some, or set dev.rows to 0")
    order = plan(train, rows=recipe.data.planned_rows, balance=recipe.data.balance, seed=recipe.seed)
    told = [recipe.digest, base.name, order_digest(train, order)]
    return TrainingPlan(
        recipe=recipe,
        base=base,
        train=tuple(train),
        dev=tuple(stratified(dev, recipe.dev.rows, recipe.seed)),
        steps=tuple(
            steps(
                order,
                [example.tokens for example in train],
                batch_rows=recipe.optimiser.batch_rows,
                micro_tokens=recipe.optimiser.micro_tokens,
            )
        ),
        digest=f"sha256:{hashlib.sha256(' '.join(told).encode()).hexdigest()}",
        left_out={
            "language with one severity only": len(train_rows) - len(chosen),
            "context leaves no room": no_room,
        },
    )


def _others(rows: Sequence[Row], languages: set[str]) -> list[Row]:
    return [row for row in rows if (row.language or "und") not in languages]


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """What a training takes on this machine as busy as it is now."""

    peak_mib: int
    """Most memory so far: of the GPU if there is one, else of the process."""
    tokens_per_s: float
    """Padded tokens."""
    train_hours: float
    dev_hours: float


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """How a sitting ended."""

    reason: str
    progress: TrainingProgress
    finished: bool
    """True if nothing is left to train: the plan is done, or the training stopped early."""
