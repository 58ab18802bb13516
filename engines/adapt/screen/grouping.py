"""Grouping: from held-out rows to what scores are worth, by language and kind. Pure; needs numpy and scipy."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from scipy.special import betaincinv

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.screen import MOST_CHARACTERS, ScreenGroup, Steps, is_written_in, scripts, spoken
from sluicegate.engines.text.forms.invisible import hides_something
from sluicegate.schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


Array: TypeAlias = Any

CONFIDENCE: Final = 0.95
LEAST_ROWS: Final = 30
"""Of the surest rows: without one wrong among them, the bound is 9.5 %."""
MOST_ERROR: Final = 0.2
"""A higher bound makes no step: nobody wants such an answer."""

_GROWTH = 1.2  # of the rows from one step to the next: few steps, since each is a chance to be lucky
_DIGITS = 1e6


def upper_bound(wrong: int, rows: int) -> float:
    """The Clopper-Pearson upper bound of a share, one-sided, at :data:`CONFIDENCE`."""
    return 1.0 if wrong >= rows else float(betaincinv(wrong + 1, rows - wrong, CONFIDENCE))


def steps(scores: Array, wrong: Array) -> Steps:
    """The table of one side.

    Each step's error is the bound of the rows at or above its score. A step whose bound is no lower than that of
    a step below it says nothing more, and is left out: so errors fall as scores rise.

    Args:
        scores: ``[rows]``, of held-out rows.
        wrong: ``[rows]``, whether an answer to a row would be wrong.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores, wrongs = scores[order], np.cumsum(wrong[order])
    found: dict[float, float] = {}
    size = float(LEAST_ROWS)
    while size <= len(scores):
        # Up, so that what a file rounds lets no row in that was not counted; equal scores are in or out together.
        bar = float(np.ceil(sorted_scores[int(size) - 1] * _DIGITS) / _DIGITS)
        rows = int(np.searchsorted(-sorted_scores, -bar, side="right"))
        if rows >= LEAST_ROWS and bar <= 1:
            found[bar] = upper_bound(int(wrongs[rows - 1]), rows)
        size *= _GROWTH
    kept: list[tuple[float, float]] = []
    for bar, bound in sorted(found.items()):
        if bound <= (MOST_ERROR if not kept else np.nextafter(kept[-1][1], 0)):
            kept.append((bar, bound))
    return tuple(kept)


Key = tuple["Kind", str]
"""Kind and language."""

MINIMUM_ROWS: Final = 200

_LEAST_OF_A_SOURCE = (
    0.05  # a source with fewer safe rows, or fewer that are not, gives its label away by its style
)
_LEAST_OF_A_SIDE = 50
_LONGEST = 0.99  # of the rows' lengths
_LEAST_OF_A_SCRIPT = 0.01  # of the rows


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A row, and what a model found that had learnt nothing of it."""

    row: Row
    probabilities: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Grouped:
    """What became of the rows of one kind and language."""

    key: Key
    rows: int
    group: ScreenGroup | None
    one_sided: tuple[str, ...]
    """Sources left out, because their style would give the label away."""
    why_not: str = ""
    """Why there is no group."""


def grouped(rows: Iterable[HeldOut], *, minimum_rows: int = MINIMUM_ROWS) -> list[Grouped]:
    """Every kind and language, most rows first.

    Args:
        rows: Each with a language.
        minimum_rows: Rows that a group needs, after one-sided sources are left out.
    """
    found: dict[Key, list[HeldOut]] = defaultdict(list)
    for one in rows:
        found[one.row.kind, spoken(one.row.language or "")].append(one)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [_grouped(key, members, minimum_rows) for key, members in ordered]


def _grouped(key: Key, rows: Sequence[HeldOut], minimum_rows: int) -> Grouped:
    one_sided = one_sided_sources([one.row for one in rows])
    kept = [one for one in rows if one.row.source not in one_sided]
    if len(kept) < minimum_rows:
        without = " without one-sided sources" if one_sided else ""
        return Grouped(
            key, len(rows), None, one_sided, f"{len(kept):,} rows{without}, fewer than {minimum_rows:,}"
        )
    group = _group(key, kept)
    why_not = "" if group else "the surest answers are too often wrong, or one side has too few rows"
    return Grouped(key, len(rows), group, one_sided, why_not)


def one_sided_sources(rows: Sequence[Row]) -> tuple[str, ...]:
    """Sources whose rows are nearly all safe, or nearly all not: a style is easier to learn than a meaning."""
    all_rows = Counter(row.source for row in rows)
    safe = Counter(row.source for row in rows if row.severity == "safe")
    return tuple(
        sorted(
            name
            for name, count in all_rows.items()
            if not _LEAST_OF_A_SOURCE <= safe[name] / count <= 1 - _LEAST_OF_A_SOURCE
        )
    )


def _group(key: Key, rows: Sequence[HeldOut]) -> ScreenGroup | None:
    """The bars that texts have to pass, and the steps of the rows that pass them."""
    longest = min(int(np.quantile([len(one.row.text) for one in rows], _LONGEST)), MOST_CHARACTERS)
    counts = Counter(name for one in rows for name in scripts(one.row.text))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    common = [name for name, count in ordered if count >= _LEAST_OF_A_SCRIPT * len(rows)]
    if not common:
        return None
    passing = [
        one
        for one in rows
        if len(one.row.text) <= longest
        and is_written_in(one.row.text, common)
        and one.row.context is None
        and not hides_something(one.row.text)
    ]
    probabilities = np.array([one.probabilities for one in passing]).reshape(-1, 3)
    sides = {}
    for at, severity in ((0, "safe"), (2, "unsafe")):
        wrong = np.array([one.row.severity != severity for one in passing], dtype=bool)
        surer = probabilities[:, at] >= probabilities[:, 2 - at]  # as a screen chooses its side
        enough = min(np.count_nonzero(wrong), np.count_nonzero(~wrong)) >= _LEAST_OF_A_SIDE
        sides[severity] = steps(probabilities[surer, at], wrong[surer]) if enough else ()
    if not (sides["safe"] or sides["unsafe"]):
        return None
    return ScreenGroup(
        kind=key[0],
        language=key[1],
        rows=len(passing),
        longest=longest,
        scripts=tuple(common),
        safe=sides["safe"],
        unsafe=sides["unsafe"],
    )
