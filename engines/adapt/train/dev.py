"""Dev: what the model in training says of rows that never train. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sluicegate.engines.adapt.train.loss import collate, logits_at
from sluicegate.engines.adapt.train.measures import SEVERITIES, Judged
from sluicegate.engines.adapt.train.order import steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.train.examples import Example


def judge(
    model: Any, examples: Sequence[Example], first_ids: dict[Any, int], *, micro_tokens: int, device: str
) -> list[Judged]:
    """Probabilities of the three labels, as serving takes them: softmax over their first tokens.

    Neither random generators nor gradients are touched.
    """
    ids = [first_ids[severity] for severity in SEVERITIES]
    was_training = model.training
    model.eval()
    judged: list[Judged] = []
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
                    Judged(example.language, example.severity, (row[0], row[1], row[2]))
                    for example, row in zip(chosen, found.tolist(), strict=True)
                ]
    model.train(was_training)
    return judged
