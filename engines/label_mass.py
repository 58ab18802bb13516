"""The guard against a model that would rather write something else than a label."""

from __future__ import annotations

from sluicegate.engines.protocol import ItemFailure, Scored
from sluicegate.schemas import FailureCode

LEAST_LABEL_MASS = 0.5
"""Below, the model would rather write something else than any label, and what is left of the three says nothing:
another model than the bundle's, or one that a text has led astray."""

_BESIDE_THE_LABELS = ItemFailure(FailureCode.LABELS_MISSING, "the labels have too little of the probability")


def believed(answer: Scored | ItemFailure, least: float = LEAST_LABEL_MASS) -> Scored | ItemFailure:
    """An engine's answer as it is used: scores whose labels hold too little of the probability are a failure.

    Args:
        answer: Of the engine, for one prompt.
        least: The least :attr:`~sluicegate.engines.protocol.Scored.label_mass` that is believed.
    """
    if isinstance(answer, ItemFailure) or answer.label_mass >= least:
        return answer
    return _BESIDE_THE_LABELS
