"""Measuring: what a screen answers of labelled rows, and how often it is wrong, as a curve over the tolerance."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.screen.grouping import upper_bound
from sluicegate.engines.adapt.screen.making import MadeScreen, ScreenTerms
from sluicegate.engines.screen import Screen, ScreenAnswer, answer_within, spoken
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


TOLERANCES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1)
SIDES: Final = ("safe", "unsafe")

_AT_ONCE = 1000
_DIGITS = 5

Pair = tuple["Row", "ScreenAnswer | None"]


def measured(screen: Screen, rows: Sequence[Row], advance: Callable[[str, int, int], None]) -> dict[str, Any]:
    """All rows together, then each kind and language, most rows first.

    Args:
        screen: As a worker loads it.
        rows: That it did not learn from.
        advance: Called with a stage, what is done of it and all.
    """
    pairs: list[Pair] = []
    for at in range(0, len(rows), _AT_ONCE):
        part = rows[at : at + _AT_ONCE]
        pairs += zip(part, answered(screen, part), strict=True)
        advance("measuring on dev", len(pairs), len(rows))
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair[0].kind, spoken(pair[0].language or "und")].append(pair)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        "all": {"rows": len(pairs), **curves(pairs)},
        "groups": [
            {"kind": kind, "language": language, "rows": len(members), **curves(members)}
            for (kind, language), members in ordered
        ],
    }


def unseen(
    made: MadeScreen, terms: ScreenTerms, advance: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """What the tables are worth on a source that taught nothing, each source in turn.

    The weights are learnt again without the source; bars and steps stay those of the screen. Sources whose rows
    the screen answers nothing of, whoever taught it, are passed over.
    """
    held = {(one.kind, one.language) for one in made.manifest.groups}
    names = [
        name
        for name in made.manifest.sources
        if any(row.source == name and (row.kind, spoken(row.language or "")) in held for row in made.rows)
    ]
    found = []
    for done, name in enumerate(names):
        advance("learning without one source", done, len(names))
        at = np.array([row.source == name for row in made.rows])
        linear = made.linear_without(at, terms)
        if linear is None:
            continue
        rows = [row for row in made.rows if row.source == name]
        pairs = list(zip(rows, answered(Screen(made.manifest, linear), rows), strict=True))
        found.append({"source": name, "rows": len(rows), **curves(pairs)})
    advance("learning without one source", len(names), len(names))
    return found


def answered(screen: Screen, rows: Sequence[Row]) -> list[ScreenAnswer | None]:
    """A screen's answers to rows, as to posts."""
    return screen.answers(
        [
            Post(id=row.id, text=row.text, kind=row.kind, context=row.context, language=row.language)
            for row in rows
        ]
    )


def curves(pairs: Sequence[Pair]) -> dict[str, list[dict[str, Any]]]:
    """For either side, a point for each tolerance: rows answered, and those of them whose label is another."""
    found: dict[str, list[dict[str, Any]]] = {}
    for side in SIDES:
        of_side = [(row, one) for row, one in pairs if one is not None and one.severity == side]
        points = []
        for tolerance in TOLERANCES:
            taken = [row for row, one in of_side if answer_within(one, tolerance)]
            wrong = sum(row.severity != side for row in taken)
            point: dict[str, Any] = {"tolerance": tolerance, "answered": len(taken), "wrong": wrong}
            if taken:
                point |= {
                    "share_answered": round(len(taken) / len(pairs), _DIGITS),
                    "share_wrong": round(wrong / len(taken), _DIGITS),
                    "at_most": round(upper_bound(wrong, len(taken)), _DIGITS),
                    "added_error": round(wrong / len(pairs), _DIGITS),
                }
            points.append(point)
        found[side] = points
    return found
