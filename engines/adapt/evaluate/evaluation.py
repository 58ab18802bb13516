"""The evaluation: everything that is measured on scored rows, as one document. Pure; needs numpy."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sluicegate.engines.adapt.evaluate.measures import MEASURES, Estimate, MeasuredRows, bins, estimates
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, ScoredRow
from sluicegate.schemas import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


NONE = "None"
"""Row and column of the table of categories for what names none."""


def explanations(
    rows: Sequence[ScoredRow], reasons: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Any]:
    """Counts over the rows that an explanation was asked for.

    Args:
        rows: All rows.
        reasons: Reasons of labelled rows, with the categories of these rows, counted: a reason that the model
            wrote in the same words stands for the commonest of them.
    """
    asked = [row for row in rows if row.well_formed is not None or row.explanation_failure is not None]
    answered = [row for row in asked if row.well_formed is not None]
    explained = [row for row in answered if row.well_formed]
    with_category = [row for row in explained if row.categories and row.found not in (None, "safe")]
    with_refusal = [row for row in explained if row.refusal is not None]
    with_reason = [
        (row, _categories_of(row.found_reason, reasons or {}))
        for row in explained
        if row.found_reason and row.categories
    ]
    return {
        "asked": len(asked),
        "failed": dict(
            sorted(Counter(one.explanation_failure for one in asked if one.explanation_failure).items())
        ),
        "well_formed": _part(len(explained), len(answered)),
        "category": {
            "any_right": _part(sum(map(_any_right, with_category)), len(with_category)),
            "all_right": _part(
                sum(set(row.categories) == set(row.found_categories) for row in with_category),
                len(with_category),
            ),
        },
        "refusal_right": _part(
            sum(row.refusal == row.found_refusal for row in with_refusal), len(with_refusal)
        ),
        "reasons": sum(row.found_reason is not None for row in explained),
        "reason_says_category": _part(sum(bool(said) for _, said in with_reason), len(with_reason)),
        "reason_says_right_category": _part(
            sum(bool(said & set(row.categories)) for row, said in with_reason), len(with_reason)
        ),
        "categories": _table(explained),
    }


def _part(of: int, whole: int) -> dict[str, float | int | None]:
    return {"rows": whole, "right": of, "share": round(of / whole, 5) if whole else None}


def _any_right(row: ScoredRow) -> bool:
    return bool(set(row.categories) & set(row.found_categories))


def _categories_of(reason: str, reasons: Mapping[str, Mapping[str, int]]) -> set[str]:
    """The categories whose names a reason holds, or else the one that it stands for in labelled rows."""
    named = {name for name in CATEGORIES if name.casefold() in reason.casefold()}
    known = reasons.get(reason)
    return named or ({max(known, key=lambda name: (known[name], name))} if known else set())


def _table(explained: Sequence[ScoredRow]) -> dict[str, dict[str, int]]:
    """By category of the label, how often each was found. A row counts once in each of its pairs.

    Harmful rows whose label names no category cannot say what is right, and are left out.
    """
    counts = Counter(
        (label, found)
        for row in explained
        if row.categories or row.severity == "safe"
        for label in row.categories or (NONE,)
        for found in row.found_categories or (NONE,)
    )
    return {
        label: {found: counts[label, found] for found in sorted({found for _, found in counts})}
        for label in sorted({label for label, _ in counts})
    }


SCHEMA: Final = "1.0"
FAILED: Final = "failed"
"""Column of the rows without scores, beside the severities found."""

_LOOK_ALIKE = "lookalike"  # in the name of a source or a label basis, dashes and underscores aside
_ROC_POINTS = 200
_SHOWN_MISTAKES = 20
_AGAINST_SAFE = {"auroc_safe": MEASURES["auroc_safe"]}

GROUPINGS: Final[dict[str, Callable[[ScoredRow], Iterable[str]]]] = {
    "language": lambda row: (row.language_name,),
    "source": lambda row: (row.source,),
    "kind": lambda row: (row.kind,),
    "category": lambda row: row.categories,
    "label_basis": lambda row: () if row.label_basis is None else (row.label_basis,),
}
"""By what the rows are grouped, and the groups of a row. A row with two categories counts in both."""


def evaluation(
    rows: Sequence[ScoredRow], *, seed: int, reasons: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Any]:
    """Measures, tables and curves of scored rows.

    Failed rows are in no measure: a worker sends them to review, whatever their label. They are counted, as a
    whole and in every group, and stand in a column of their own in the table of severities.

    Args:
        rows: In any order; the result does not depend on it.
        seed: Of the intervals.
        reasons: As :func:`~sluicegate.engines.adapt.evaluate.evaluation.explanations` takes them.
    """
    rows = sorted(rows, key=lambda row: row.id)
    return {
        "schema_version": SCHEMA,
        "rows": len(rows),
        "failed": dict(sorted(Counter(row.failure for row in rows if row.failure is not None).items())),
        "measures": _documents(estimates(rows, seed=seed)),
        "by": {name: _grouped(rows, name, seed) for name in GROUPINGS},
        "severities": severities(rows),
        "over_blocking": over_blocking(rows, seed),
        "explanations": explanations(rows, reasons),
        "reliability": reliability(rows),
        "roc": {"safe": roc(rows, "safe"), "unsafe": roc(rows, "unsafe")},
        "worst": [row.id for row in worst(rows)],
    }


def severities(rows: Sequence[ScoredRow]) -> dict[str, dict[str, int]]:
    """Rows by label and by what was found; failed ones apart."""
    counts: Counter[tuple[str, str]] = Counter((row.severity, row.found or FAILED) for row in rows)
    return {label: {found: counts[label, found] for found in (*SEVERITIES, FAILED)} for label in SEVERITIES}


def over_blocking(rows: Sequence[ScoredRow], seed: int) -> dict[str, Any]:
    """What becomes of rows labelled safe: all of them, and those written to look harmful.

    A look-alike is named one by its source or label basis, or shares its group with a harmful row: a contrast pair.
    """
    safe = [row for row in rows if row.severity == "safe"]
    paired = {row.group for row in rows if row.severity != "safe" and row.group is not None}
    alike = [row for row in safe if row.group in paired or _looks_alike(row)]
    chosen = {name: MEASURES[name] for name in ("false_positives", "false_unsafe")}
    found = {}
    for name, group in (("all safe rows", safe), ("benign look-alikes", alike)):
        if group:
            drawn = estimates(group, seed=seed, name=name, measures=chosen)
            found[name] = {**_counts(group), "measures": _documents(drawn)}
    return found


def reliability(rows: Sequence[ScoredRow]) -> list[dict[str, float]]:
    """The bins of the calibration error, from the least confident: rows, mean confidence and share found right."""
    judged = MeasuredRows.of(rows)
    if not len(judged.labels):
        return []
    whole = np.ones((1, len(judged.labels)))
    found = bins(judged.probabilities.max(axis=1), judged.found == judged.labels, whole)
    return [
        {"rows": int(mass), "confidence": round(float(confident), 5), "right": round(float(right), 5)}
        for mass, confident, right in zip(*(one[0] for one in found), strict=True)
        if mass > 0
    ]


def roc(rows: Sequence[ScoredRow], against: str) -> list[tuple[float, float]]:
    """Points of false-positive share and recall, from (0, 0) to (1, 1), thinned; empty without both sides.

    Args:
        rows: Failed ones are passed over.
        against: ``safe``: not safe against safe. ``unsafe``: unsafe against all others.
    """
    judged = MeasuredRows.of(rows)
    positive = judged.labels > 0 if against == "safe" else judged.labels == 2
    scores = judged.risk if against == "safe" else judged.probabilities[:, 2]
    if positive.all() or not positive.any():
        return []
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], positive[order]
    ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    recall = np.r_[0, np.cumsum(hits)[ends] / hits.sum()]
    wrong = np.r_[0, np.cumsum(~hits)[ends] / (~hits).sum()]
    kept = np.unique(np.linspace(0, len(recall) - 1, min(len(recall), _ROC_POINTS)).astype(int))
    return [(round(float(wrong[at]), 5), round(float(recall[at]), 5)) for at in kept]


def worst(rows: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The rows whose label got the least probability, worst first: where to look for wrong labels or a weak model."""

    def of_label(row: ScoredRow) -> float:
        return 1.0 if row.probabilities is None else row.probabilities[SEVERITIES.index(row.severity)]

    mistaken = [row for row in rows if row.found not in (None, row.severity)]
    return sorted(mistaken, key=lambda row: (of_label(row), row.id))[:_SHOWN_MISTAKES]


def _grouped(rows: Sequence[ScoredRow], name: str, seed: int) -> dict[str, Any]:
    groups: dict[str, list[ScoredRow]] = defaultdict(list)
    for row in rows:
        for group in GROUPINGS[name](row):
            groups[group].append(row)
    found = {}
    for group, members in sorted(groups.items(), key=lambda one: (-len(one[1]), one[0])):
        drawn = estimates(members, seed=seed, name=f"{name}:{group}")
        if name == "category":  # all its rows are harmful: it is told from the safe ones of the whole
            safe = [row for row in rows if row.severity == "safe"]
            drawn |= estimates([*members, *safe], seed=seed, name=f"{name}:{group}", measures=_AGAINST_SAFE)
        found[group] = {**_counts(members), "measures": _documents(drawn)}
    return found


def _counts(rows: Sequence[ScoredRow]) -> dict[str, int]:
    labels = Counter(row.severity for row in rows)
    return {
        "rows": len(rows),
        **{severity: labels[severity] for severity in SEVERITIES},
        FAILED: sum(row.failure is not None for row in rows),
    }


def _looks_alike(row: ScoredRow) -> bool:
    named = f"{row.source} {row.label_basis or ''}".casefold()
    return _LOOK_ALIKE in named.replace("-", "").replace("_", "")


def _documents(found: dict[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: one.document() for name, one in found.items()}
