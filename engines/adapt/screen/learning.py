"""Learning: texts to the weights of a screen. Needs scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import SGDClassifier

from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.screen.features import BITS, Array, hashed

if TYPE_CHECKING:
    from collections.abc import Sequence

FEATURES: Final = 160_000
"""Makes a file of 1.6 MB; half as many again gain nothing that dev rows show."""

_AT_ONCE = 512
_LEAST_TEXTS = 2  # a feature of a single text says nothing of others
_DECAY = 1e-5
_ROUNDS = 12


def matrix(texts: Sequence[str]) -> Any:
    """``[texts, features]``, sparse: 1 where a text, in its plain form, has a feature."""
    ids, ends = [], [np.zeros(1, np.int64)]
    for at in range(0, len(texts), _AT_ONCE):
        found = hashed(texts[at : at + _AT_ONCE])
        ids.append(found.ids)
        ends.append(found.starts[1:] + ends[-1][-1])
    flat = np.concatenate(ids).astype(np.int32)
    return csr_matrix(
        (np.ones(len(flat), np.float32), flat, np.concatenate(ends)), shape=(len(texts), 1 << BITS)
    )


@dataclass(frozen=True, slots=True)
class Learnt:
    """A model of some rows."""

    features: Array
    """Numbers of the features that it knows, rising."""
    model: Any

    @classmethod
    def of(cls, counts: Any, severities: Sequence[str], *, most_features: int = FEATURES) -> Learnt:
        """Learn from rows; the same rows give the same weights.

        Args:
            counts: Of :func:`matrix`.
            severities: The rows' labels, all three among them.
            most_features: Kept are those that most texts have.
        """
        features = _chosen(counts, most_features)
        # Averaged, it is as good on rows held out as a solver that takes five times as long.
        model = SGDClassifier(
            loss="log_loss", alpha=_DECAY, average=True, max_iter=_ROUNDS, tol=None, random_state=0
        )
        model.fit(_known(counts, features), [SEVERITIES.index(one) for one in severities])
        return cls(features, model)

    def arrays(self) -> dict[str, Array]:
        """As a screen's file has them."""
        return {
            "features": self.features.astype(np.uint32),
            "weights": np.ascontiguousarray(self.model.coef_.T.astype(np.float16)),
            "intercepts": self.model.intercept_.astype(np.float32),
        }


def _chosen(counts: Any, most: int) -> Array:
    texts = np.bincount(counts.indices, minlength=counts.shape[1])
    least = _LEAST_TEXTS
    while np.count_nonzero(texts >= least) > most:
        least += 1
    return np.flatnonzero(texts >= least)


def _known(counts: Any, features: Array) -> Any:
    """The columns of these features, weighed as :class:`~sluicegate.engines.screen.weights.Linear` does."""
    known = counts[:, features]
    sizes = np.maximum(np.diff(known.indptr), 1)
    return (diags((1 / np.sqrt(sizes)).astype(np.float32)) @ known).tocsr()
