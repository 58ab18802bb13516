"""Scenarios: functions with a number of the list of faults, a name and the cluster that they want."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.kafka import ApacheKafka
from support.kafka_security import SecuredKafka

if TYPE_CHECKING:
    from faults.stage import Stage

Act = Callable[["Stage"], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to break things."""

    number: int
    name: str
    act: Act
    brokers: int = 1
    partitions: int = 3
    short: bool = False
    """True if it is in the shortened set."""
    properties: dict[str, str] = field(default_factory=dict)
    """Properties of the brokers."""
    secured: bool = False
    """True for one broker that asks for a login, beside its open listener."""

    @property
    def cluster(self) -> tuple[bool, int, tuple[tuple[str, str], ...]]:
        """Scenarios that agree on this share a cluster."""
        return self.secured, self.brokers, tuple(sorted(self.properties.items()))

    def make_cluster(self) -> ApacheKafka:
        """The cluster that it wants, not started yet."""
        if self.secured:
            return SecuredKafka()
        return ApacheKafka(brokers=self.brokers, properties=self.properties)


SCENARIOS: list[Scenario] = []
"""All that were imported, by number and name: import :mod:`faults.scenarios` first."""


def scenario(
    *,
    number: int,
    name: str,
    brokers: int = 1,
    partitions: int = 3,
    short: bool = False,
    properties: dict[str, str] | None = None,
    secured: bool = False,
) -> Callable[[Act], Act]:
    """Register a function as a scenario.

    Raises:
        ValueError: The name is taken.
    """

    def register(act: Act) -> Act:
        if any(one.name == name for one in SCENARIOS):
            raise ValueError(f"two scenarios are called {name}")
        SCENARIOS.append(Scenario(number, name, act, brokers, partitions, short, properties or {}, secured))
        SCENARIOS.sort(key=lambda one: (one.number, one.name))
        return act

    return register
