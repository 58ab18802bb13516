"""The plan: everything a training will do, decided before torch is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.engines.adapt.train.base import open_base
from sluicegate.engines.adapt.train.errors import TrainingError
from sluicegate.engines.adapt.train.examples import ExampleMaker
from sluicegate.engines.adapt.train.order import (
    mixture,
    one_sided_languages,
    order_digest,
    plan,
    steps,
    stratified,
)
from sluicegate.engines.adapt.train.rows_file import read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.engines.adapt.rows import Row
    from sluicegate.engines.adapt.train.base import OpenedBase
    from sluicegate.engines.adapt.train.examples import Example
    from sluicegate.engines.adapt.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """Examples, their order, and what they are measured against."""

    recipe: Recipe
    base: OpenedBase
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
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


def make_plan(recipe: Recipe, data: Path, *, base: OpenedBase | None = None) -> Plan:
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
    return Plan(
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
