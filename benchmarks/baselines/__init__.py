"""The baseline: counted words and letters, weighed by a logistic regression. What an adapter has to beat.

``load_baseline`` gives the shipped one, whose rows are those of the shipped adapter. Needs the extra ``evaluate``.
"""

from .tfidf import SEVERITIES, Baseline, load_baseline, scored_by

__all__ = ["SEVERITIES", "Baseline", "load_baseline", "scored_by"]
