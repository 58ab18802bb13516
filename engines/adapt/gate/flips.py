"""Flips: rows that the two models leave with another action or another severity. Ids only, never a text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.engines.adapt.evaluate.evaluation import FAILED
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

_LISTED = 20  # ids of one direction; --flips writes all


@dataclass(frozen=True, slots=True)
class Flip:
    """One row; each pair is current, then new."""

    row: ScoredRow
    actions: tuple[str, str]
    severities: tuple[str, str]

    def document(self) -> dict[str, Any]:
        """As a line of JSON has it."""
        return {
            "id": self.row.id,
            "source": self.row.source,
            "kind": self.row.kind,
            "language": self.row.language,
            "severity": self.row.severity,
            "categories": self.row.categories,
            "action": list(self.actions),
            "found": list(self.severities),
        }


def flips(
    new: Sequence[ScoredRow], current: Sequence[ScoredRow], act: Callable[[ScoredRow], str]
) -> Iterator[Flip]:
    """Rows whose action or severity differs.

    Args:
        new: As the new model left them.
        current: The same rows, in the same order.
        act: What the policy makes of a row.
    """
    for one, other in zip(new, current, strict=True):
        actions = act(other), act(one)
        severities = other.found or FAILED, one.found or FAILED
        if actions[0] != actions[1] or severities[0] != severities[1]:
            yield Flip(one, actions, severities)


def counted(found: Iterable[Flip]) -> dict[str, dict[str, dict[str, Any]]]:
    """Flips of ``actions`` and of ``severities`` by direction: how many rows of each label, and the first ids."""
    counts: dict[str, dict[str, dict[str, Any]]] = {"actions": {}, "severities": {}}
    for flip in found:
        for what, (before, after) in (("actions", flip.actions), ("severities", flip.severities)):
            if before == after:
                continue
            empty: dict[str, Any] = {"rows": 0, **dict.fromkeys(SEVERITIES, 0), "ids": []}
            direction = counts[what].setdefault(f"{before} to {after}", empty)
            direction["rows"] += 1
            direction[flip.row.severity] += 1
            if len(direction["ids"]) < _LISTED:
                direction["ids"].append(flip.row.id)
    return {
        what: dict(sorted(directions.items(), key=lambda one: (-one[1]["rows"], one[0])))
        for what, directions in counts.items()
    }
