"""The weights that lie in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .tfidf import Baseline

WEIGHTS: Final = Path(__file__).with_name("permissive.npz")


def load_baseline() -> Baseline:
    """The shipped baseline; its ``facts`` name the sources that it, and the shipped adapter, are trained on.

    Raises:
        ValueError: The weights are no baseline's.
    """
    return Baseline.load(WEIGHTS)
