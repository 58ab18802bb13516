"""Loss: cross entropy over completions alone, the label's first token weighted. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.adapt.train.examples import TrainingExample, steps
from sluicegate.engines.adapt.train.measures import DevJudged

if TYPE_CHECKING:
    from collections.abc import Sequence


_PAD = 0  # masked out; any id will do


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples side by side, padded at the right."""

    ids: Any
    """Token ids, ``[rows, tokens]``."""
    mask: Any
    """1 where a token stands, ``[rows, tokens]``."""
    places: tuple[Any, Any]
    """Rows and positions whose next token is learnt, ``[learnt]`` each."""
    targets: Any
    """The token that follows each place, ``[learnt]``."""
    weights: Any
    """Weight of each place, ``[learnt]``."""


def collate(examples: Sequence[TrainingExample], *, label_weight: float, device: str) -> Batch:
    """Examples as one batch."""
    width = max(example.tokens for example in examples)
    ids = torch.full((len(examples), width), _PAD)
    mask = torch.zeros_like(ids)
    rows: list[int] = []
    positions: list[int] = []
    weights: list[float] = []
    for row, example in enumerate(examples):
        ids[row, : example.tokens] = torch.tensor([*example.prompt_ids, *example.completion_ids])
        mask[row, : example.tokens] = 1
        learnt = len(example.completion_ids)
        rows += [row] * learnt
        positions += range(len(example.prompt_ids) - 1, example.tokens - 1)
        weights += [label_weight, *[1.0] * (learnt - 1)]
    at = torch.tensor(rows), torch.tensor(positions)
    return Batch(
        ids=ids.to(device),
        mask=mask.to(device),
        places=(at[0].to(device), at[1].to(device)),
        targets=ids[at[0], at[1] + 1].to(device),
        weights=torch.tensor(weights, device=device),
    )


def weight_of(examples: Sequence[TrainingExample], label_weight: float) -> float:
    """Sum of the weights of these examples' places."""
    return sum(label_weight + len(example.completion_ids) - 1 for example in examples)


def logits_at(model: Any, ids: Any, mask: Any, places: tuple[Any, Any]) -> Any:
    """Logits over the vocabulary at some places, ``[places, vocabulary]``, in float32.

    The output head, a fifth of a small model's work, is computed there alone.
    """
    base = model.get_base_model()
    hidden = base.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return base.lm_head(hidden[places]).float()


def loss_sum(model: Any, batch: Batch) -> Any:
    """Weighted sum of the cross entropies: divided by the step's weight it does not depend on micro-batches."""
    logits = logits_at(model, batch.ids, batch.mask, batch.places)
    return (functional.cross_entropy(logits, batch.targets, reduction="none") * batch.weights).sum()


def judge(
    model: Any,
    examples: Sequence[TrainingExample],
    first_ids: dict[Any, int],
    *,
    micro_tokens: int,
    device: str,
) -> list[DevJudged]:
    """Probabilities of the three labels, as serving takes them: softmax over their first tokens.

    Neither random generators nor gradients are touched.
    """
    ids = [first_ids[severity] for severity in SEVERITIES]
    was_training = model.training
    model.eval()
    judged: list[DevJudged] = []
    order = sorted(range(len(examples)), key=lambda index: examples[index].tokens)
    lengths = [example.tokens for example in examples]
    with torch.no_grad():
        for batch in steps(order, lengths, batch_rows=64, micro_tokens=micro_tokens):
            for part in batch:
                chosen = [examples[index] for index in part]
                at = collate(chosen, label_weight=1.0, device=device)
                last = torch.tensor([len(example.prompt_ids) - 1 for example in chosen], device=device)
                rows = torch.arange(len(chosen), device=device)
                found = logits_at(model, at.ids, at.mask, (rows, last))[:, ids].softmax(dim=-1)
                judged += [
                    DevJudged(example.language, example.severity, (row[0], row[1], row[2]))
                    for example, row in zip(chosen, found.tolist(), strict=True)
                ]
    model.train(was_training)
    return judged
