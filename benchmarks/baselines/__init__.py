"""The baseline: counted words and letters, weighed by a logistic regression. What an adapter has to beat.

``load_baseline`` gives the shipped one, whose rows are those of the shipped adapter. Needs the extra ``evaluate``.
"""

from .judging import scored_by
from .shipped import load_baseline
from .tfidf import SEVERITIES, Baseline

__all__ = ["SEVERITIES", "Baseline", "load_baseline", "scored_by"]
