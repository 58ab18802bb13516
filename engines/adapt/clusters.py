"""Clusters: what is linked, directly or over others. Pure."""

from __future__ import annotations


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
