"""Scored rows of our own making: a model's scores as random numbers around the truth, and evaluations of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, ScoredRow, write_scores
from sluicegate.schemas import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LANGUAGES = ("en", "zh", "de", "es", "ko", "ar")


def labelled_rows(count: int, *, seed: int = 0, languages: Sequence[str] = LANGUAGES) -> list[ScoredRow]:
    """Rows of mixed languages, kinds and categories; what was found of them says nothing yet."""
    rng = np.random.default_rng(seed)
    rows = []
    for at in range(count):
        severity = SEVERITIES[int(rng.choice(3, p=[0.5, 0.2, 0.3]))]
        rows.append(
            ScoredRow(
                id=f"row-{at}",
                source=f"source-{at % 4}",
                kind="prompt" if at % 5 == 0 else "post",
                severity=severity,
                language=languages[int(rng.integers(len(languages)))],
                categories=() if severity == "safe" else (CATEGORIES[int(rng.integers(4))],),
                probabilities=(1.0, 0.0, 0.0),
            )
        )
    return rows


def scored(
    rows: Sequence[ScoredRow], *, seed: int, skill: float = 2.0, sureness: float = 1.0, shared: int = 99
) -> list[ScoredRow]:
    """The rows as a model leaves them.

    Args:
        rows: Labelled.
        seed: Of what is the model's own; models of one skill are equally good.
        skill: By how much the label's logit is higher, in standard deviations of the noise.
        sureness: Factor on the logits: 1 keeps about the right odds, more is too sure.
        shared: Seed of what makes a row hard for every model.
    """
    hard, own = (np.random.default_rng(one).normal(size=(len(rows), 3)) for one in (shared, seed))
    logits = 0.8 * hard + 0.6 * own
    labels = np.array([SEVERITIES.index(row.severity) for row in rows])
    logits[np.arange(len(rows)), labels] += skill
    # With unit noise around means that lie `skill` apart, the odds of the label are exactly exp(skill * logit).
    weights = np.exp((logits - logits.max(axis=1, keepdims=True)) * skill * sureness)
    weights /= weights.sum(axis=1, keepdims=True)
    return [
        replace(row, probabilities=(float(a), float(b), float(c)), well_formed=None if a > 0.5 else True)
        for row, (a, b, c) in zip(rows, weights, strict=True)
    ]


def spoiled(rows: Sequence[ScoredRow], language: str) -> list[ScoredRow]:
    """The rows as a model leaves them that learnt one language the wrong way round."""
    return [
        replace(row, probabilities=row.probabilities[::-1])
        if row.language == language and row.probabilities is not None
        else row
        for row in rows
    ]


def write_evaluation(
    folder: Path, rows: Sequence[ScoredRow], *, digest: str = "new", split: str | None = "dev", **changes: Any
) -> Path:
    """A folder as ``sluicegate adapt evaluate`` leaves it, as far as it is read again."""
    write_scores(folder, rows)
    judged = {
        "engine": {"digest": f"sha256:{digest}", "backend": "fake", "model": "a model", "adapter": None},
        "split": split,
        "rows_digest": "sha256:rows",
        "terms": {"hints": False, "calibrated": False, "most_tokens": 100, "most_segments": 4},
        **changes,
    }
    (folder / "evaluation.json").write_bytes(orjson.dumps({"rows": len(rows), "judged": judged}))
    return folder
