"""Text forms: the plain form of a text that was written around a filter, and whether it is worth judging."""

from sluicegate.engines.text.forms.folding import PLAIN, RULES, UNSEEN, Folded, fold

__all__ = ["PLAIN", "RULES", "UNSEEN", "Folded", "fold"]
