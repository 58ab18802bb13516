"""Explanations: form, categories, refusals and reasons, as far as the labels can say what is right. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sluicegate.schemas import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

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
