"""Measures of severities against labels: accuracy, macro-F1, AUROC. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from sluicegate.schemas.assessment import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True)
class DevJudged:
    """One labelled row and the probabilities a model gave it."""

    language: str
    severity: Severity
    probabilities: tuple[float, float, float]
    """In the order of :data:`SEVERITIES`."""

    @property
    def found(self) -> Severity:
        """The most probable severity."""
        return SEVERITIES[self.probabilities.index(max(self.probabilities))]


def accuracy(judged: Sequence[DevJudged]) -> float:
    """Share of rows whose most probable severity is the label's."""
    return sum(one.found == one.severity for one in judged) / len(judged)


def macro_f1(judged: Sequence[DevJudged]) -> float:
    """Mean F1 of the severities that occur among the labels."""
    scores = []
    for severity in SEVERITIES:
        labelled = sum(one.severity == severity for one in judged)
        found = sum(one.found == severity for one in judged)
        both = sum(one.severity == severity == one.found for one in judged)
        if labelled:
            scores.append(2 * both / (labelled + found))
    return sum(scores) / len(scores)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Probability that a positive row scores above a negative one, ties counted half; None without both."""
    if not positive or not negative:
        return None
    ranked = sorted([(score, 1) for score in positive] + [(score, 0) for score in negative])
    rank_sum, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        rank_sum += (at + 1 + end) / 2 * sum(is_positive for _, is_positive in ranked[at:end])
        at = end
    smallest = len(positive) * (len(positive) + 1) / 2
    return (rank_sum - smallest) / (len(positive) * len(negative))


def safe_vs_rest(judged: Sequence[DevJudged]) -> float | None:
    """AUROC of the probability of not being safe."""
    return auroc(
        [1 - one.probabilities[0] for one in judged if one.severity != "safe"],
        [1 - one.probabilities[0] for one in judged if one.severity == "safe"],
    )


def unsafe_vs_rest(judged: Sequence[DevJudged]) -> float | None:
    """AUROC of the probability of being unsafe."""
    return auroc(
        [one.probabilities[2] for one in judged if one.severity == "unsafe"],
        [one.probabilities[2] for one in judged if one.severity != "unsafe"],
    )


def summary(judged: Sequence[DevJudged]) -> dict[str, float]:
    """All measures by name, rounded; those that cannot be had are absent."""
    found = {
        "rows": float(len(judged)),
        "accuracy": accuracy(judged),
        "macro_f1": macro_f1(judged),
        "auroc_safe": safe_vs_rest(judged),
        "auroc_unsafe": unsafe_vs_rest(judged),
    }
    return {name: round(value, 4) for name, value in found.items() if value is not None}


def by_language(judged: Sequence[DevJudged]) -> dict[str, dict[str, float]]:
    """The summary of each language."""
    groups: dict[str, list[DevJudged]] = defaultdict(list)
    for one in judged:
        groups[one.language].append(one)
    return {language: summary(group) for language, group in sorted(groups.items())}
