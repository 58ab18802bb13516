"""Labelled rows of our own making: harmless texts under made-up labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluicegate.engines.adapt.data.near_duplicates import NearDuplicateIndex
from sluicegate.engines.adapt.data.rows import Row, RowFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sluicegate.engines.adapt.data.decisions import NearPairs

_WHO = ("My neighbour", "The baker", "Our teacher", "A tall visitor", "Somebody", "The whole choir")
_DOES = ("repairs", "paints", "borrows", "photographs", "sells", "draws", "carries", "forgets")
_WHAT = ("an old bicycle", "seven lanterns", "the garden gate", "a wooden boat", "two maps", "the piano")
_WHEN = ("on Monday", "before breakfast", "in the rain", "every winter", "without a word", "at the station")


def sentence(number: int) -> str:
    """One of 1,728 sentences that are not near one another; the number stands in words of it."""
    who, rest = number % 6, number // 6
    does, rest = rest % 8, rest // 8
    what, when = rest % 6, rest // 6 % 6
    return f"{_WHO[who]} {_DOES[does]} {_WHAT[what]} {_WHEN[when]}, {number * 7919} times {number * 104729}."


def row(**fields: Any) -> dict[str, Any]:
    """A plain row, with what is given in place of its own fields."""
    return {
        "text": "Does anybody know when the library opens?",
        "severity": "safe",
        "categories": [],
        **fields,
    }


def rows_of(documents: Iterable[dict[str, Any]]) -> list[Row]:
    """Documents as rows, with ids and a source where they have none."""
    return [
        Row.model_validate({"id": f"r{at}", "source": "s", "kind": "post", **document})
        for at, document in enumerate(documents)
    ]


def facts_of(rows: Sequence[Row], similarity: float = 0.7) -> tuple[list[RowFacts], NearPairs]:
    """What deciding needs of these rows: facts, and near duplicates by their numbers."""
    near = NearDuplicateIndex(similarity)
    return [RowFacts.of(one, near.add(one.text)) for one in rows], near.pairs


def every(_one: int, _other: int) -> bool:
    """Each pair of near duplicates matters."""
    return True


def write_lines(path: Path, documents: Iterable[dict[str, Any]]) -> Path:
    """JSON lines of these documents; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents), "utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The documents of a JSON lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
