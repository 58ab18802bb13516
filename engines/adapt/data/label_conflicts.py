"""Label conflicts: near duplicates of one setting that have several severities. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sluicegate.engines.adapt.data.row_facts import RowFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Clusters:
    """Union-find over the numbers 0 to ``size`` - 1. The order of the links does not matter."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def link(self, one: int, other: int) -> None:
        """Put both into one cluster."""
        first, second = sorted((self.of(one), self.of(other)))
        self._parents[second] = first

    def of(self, one: int) -> int:
        """The lowest number of the cluster that this one is in."""
        root = one
        while self._parents[root] != root:
            root = self._parents[root]
        while self._parents[one] != root:
            self._parents[one], one = root, self._parents[one]
        return root


SEVERITY_RANKS: Final = {"safe": 0, "controversial": 1, "unsafe": 2}


class LabelConflicts:
    """Gathers rows that disagree with a near duplicate.

    Kept by row and not by pair: a campaign of a thousand variants has half a million pairs.

    Args:
        facts: By row.
        by_number: Rows by the number of their bare form.
    """

    def __init__(self, facts: Sequence[RowFacts], by_number: Mapping[int, Sequence[int]]) -> None:
        self.worst: dict[int, int] = {}
        """By row in dispute: rank of the most severe label that it or a row it disagrees with has."""
        self._facts = facts
        self._labels = {
            number: {(facts[row].setting, facts[row].severity) for row in rows}
            for number, rows in by_number.items()
        }
        self._together = Clusters(len(facts))

    def possible(self, one: int, other: int) -> bool:
        """True if rows with these two numbers would disagree."""
        mine, others = self._labels.get(one), self._labels.get(other)
        if mine is None or others is None or (mine == others and len(mine) == 1):
            return False
        return any(
            setting == other_setting and severity != other_severity
            for setting, severity in mine
            for other_setting, other_severity in others
        )

    def take(self, first: Sequence[int], second: Sequence[int]) -> None:
        """Gather those of two sets of near rows that disagree; a set with itself gives each pair once."""
        if len({self._facts[row].severity for row in (*first, *second)}) == 1:
            return
        for one in first:
            for other in second:
                facts, others = self._facts[one], self._facts[other]
                differ = facts.severity != others.severity and facts.form != others.form
                if differ and facts.setting == others.setting:
                    worst = max(SEVERITY_RANKS[facts.severity], SEVERITY_RANKS[others.severity])
                    for row in (one, other):
                        self.worst[row] = max(worst, self.worst.get(row, 0))
                    self._together.link(one, other)

    def sets(self) -> list[tuple[int, ...]]:
        """The rows in dispute, those together that disagree directly or over others."""
        found: dict[int, list[int]] = defaultdict(list)
        for row in sorted(self.worst):
            found[self._together.of(row)].append(row)
        return [tuple(rows) for rows in found.values()]
