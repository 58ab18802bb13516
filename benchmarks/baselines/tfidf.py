"""TF-IDF and logistic regression: words, pairs of words, and runs of two to five characters within words.

Features are hashed, so that no vocabulary has to be kept: what a text weighs is read from two arrays. They are
kept as small numbers in an ``.npz``, which is read without pickle: a file of weights cannot run code.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from scipy.sparse import hstack
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from sluicegate.engines.adapt.evaluate.scored import ScoredRow, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.data.rows import Row

WEIGHTS: Final = Path(__file__).with_name("permissive.npz")
"""The shipped weights."""
SEVERITIES: Final = ("safe", "controversial", "unsafe")
"""The order of every triple of probabilities."""

CHARACTER_BITS: Final = 21
WORD_BITS: Final = 18
"""Sizes of the hashed spaces. With two bits and one less, features that collide cost 1.4 points of macro-F1 on dev."""

_FORMAT: Final = 1
_ROWS = 4096  # vectorised at once: a matrix of 20 MB
_C: Final = 4.0
_LEAST_TEXTS = 2  # a feature of a single text says nothing of others
_STEPS = 400  # it converges in fewer than half


def _vectorizers(word_bits: int, character_bits: int) -> tuple[HashingVectorizer, HashingVectorizer]:
    same: dict[str, Any] = {"norm": None, "alternate_sign": False, "dtype": np.float32}
    return (
        HashingVectorizer(analyzer="word", ngram_range=(1, 2), n_features=2**word_bits, **same),
        HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=2**character_bits, **same),
    )


@dataclass(frozen=True, eq=False)
class Baseline:
    """Weights of a trained baseline."""

    idf: Any
    """``[features]``: 0 for features that are not used, words before characters."""
    weights: Any
    """``[features, 3]``."""
    intercepts: Any
    """``[3]``."""
    word_bits: int = WORD_BITS
    character_bits: int = CHARACTER_BITS
    facts: dict[str, Any] = field(default_factory=dict)
    """Where it is from: rows, sources, licences."""

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        severities: Sequence[str],
        *,
        word_bits: int = WORD_BITS,
        character_bits: int = CHARACTER_BITS,
        facts: dict[str, Any] | None = None,
    ) -> Self:
        """Train, each severity with the same weight in all. The same rows give the same weights.

        Args:
            texts: The rows' texts.
            severities: Their labels.
            word_bits: Words are hashed to ``2**word_bits`` features.
            character_bits: Likewise runs of characters.
            facts: Kept with the weights.

        Raises:
            ValueError: A severity does not occur, or the two lists differ in length.
        """
        if len(texts) != len(severities) or set(severities) != set(SEVERITIES):
            raise ValueError("a baseline needs as many severities as texts, and rows of all three")
        counts = _counts(texts, word_bits, character_bits)
        occur = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = np.log((1 + len(texts)) / (1 + occur)) + 1
        idf[occur < _LEAST_TEXTS] = 0
        used = np.flatnonzero(idf)  # the others weigh nothing, and need not be looked for
        model = LogisticRegression(C=_C, class_weight="balanced", max_iter=_STEPS)
        weighed = _weighed(counts, idf, word_bits)[:, used].astype(np.float32)
        model.fit(weighed, [SEVERITIES.index(one) for one in severities])
        weights = np.zeros((len(idf), len(SEVERITIES)))
        weights[used] = model.coef_.T
        return cls(idf, weights, model.intercept_.copy(), word_bits, character_bits, dict(facts or {}))

    def probabilities(self, texts: Sequence[str]) -> Any:
        """Probabilities in the order of :data:`SEVERITIES`, ``[texts, 3]``."""
        found = [np.zeros((0, len(SEVERITIES)))]
        for at in range(0, len(texts), _ROWS):
            counts = _counts(texts[at : at + _ROWS], self.word_bits, self.character_bits)
            logits = _weighed(counts, self.idf, self.word_bits) @ self.weights + self.intercepts
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            found.append(odds / odds.sum(axis=1, keepdims=True))
        return np.concatenate(found)

    def save(self, path: Path) -> None:
        """Write the weights, eight bits each. What :meth:`load` gives differs by that rounding."""
        steps = np.abs(self.weights).max(axis=0) / 127
        told = {
            "format": _FORMAT,
            "word_bits": self.word_bits,
            "character_bits": self.character_bits,
            **self.facts,
        }
        np.savez_compressed(
            path,
            facts=np.array(json.dumps(told, ensure_ascii=False)),
            idf=self.idf.astype(np.float16),
            weights=np.round(self.weights / steps).astype(np.int8),
            steps=steps,
            intercepts=self.intercepts,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read weights that :meth:`save` wrote.

        Raises:
            ValueError: The file is not there, or holds something else.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                return cls._of(kept)
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            EOFError,
            zipfile.BadZipFile,
        ) as error:
            raise ValueError(
                f"{path} holds no baseline; write it again with benchmarks/baselines/train.py"
            ) from error

    @classmethod
    def _of(cls, kept: Any) -> Self:
        facts = json.loads(str(kept["facts"]))
        if facts.pop("format") != _FORMAT:
            raise ValueError("another format")
        sizes = facts.pop("word_bits"), facts.pop("character_bits")
        idf, weights = kept["idf"].astype(np.float64), kept["weights"] * kept["steps"]
        if idf.shape != (2 ** sizes[0] + 2 ** sizes[1],) or weights.shape != (len(idf), len(SEVERITIES)):
            raise ValueError("sizes that do not go together")
        return cls(idf, weights, kept["intercepts"], *sizes, facts)


def _counts(texts: Sequence[str], word_bits: int, character_bits: int) -> Any:
    """How often each feature occurs in each text, ``[texts, features]``, sparse."""
    return hstack([one.transform(texts) for one in _vectorizers(word_bits, character_bits)], format="csr")


def _weighed(counts: Any, idf: Any, word_bits: int) -> Any:
    """Counts with their logarithm, times idf; words and characters of a text have length 1 each."""
    weighed = counts.astype(np.float64)
    weighed.data = (1 + np.log(weighed.data)) * idf[weighed.indices]
    words = 2**word_bits
    return hstack([normalize(weighed[:, :words]), normalize(weighed[:, words:])], format="csr")


def load_baseline() -> Baseline:
    """The shipped baseline; its ``facts`` name the sources that it, and the shipped adapter, are trained on.

    Raises:
        ValueError: The weights are no baseline's.
    """
    return Baseline.load(WEIGHTS)


def scored_by(baseline: Baseline, rows: Sequence[Row]) -> list[ScoredRow]:
    """What a baseline finds in rows; it knows their texts alone."""
    found = baseline.probabilities([row.text for row in rows]).tolist()
    return [
        ScoredRow(**labelled(row), probabilities=tuple(three)) for row, three in zip(rows, found, strict=True)
    ]
