"""The stage: what a scenario finds when it begins, and where it says what it saw."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faults.kubelet import Kubelet
from faults.load import Load, plain_post
from support.collector import account, committed, ends

if TYPE_CHECKING:
    import random

    from faults.history import History
    from faults.load import Make
    from faults.outcome import Fact
    from support.collector import Sent
    from support.kafka import ApacheKafka
    from support.workers import Lane

_LOOK_S = 0.3


@dataclass(slots=True)
class Stage:
    """One scenario's cluster, lane, workers and load, and what was found."""

    kafka: ApacheKafka
    lane: Lane
    history: History
    rng: random.Random
    """Decides what happens when; of the run's seed and the scenario's name."""
    size: float = 1.0
    """1 in the whole suite, less in the shortened set."""
    sent: list[Sent] = field(default_factory=list)
    """What the brokers accepted; a scenario that sends by other means than :meth:`load` adds its own."""
    notes: dict[str, Fact] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """Further demands that were not met."""
    open_tenants: set[str] = field(default_factory=set)
    one_action: bool = True
    may_repeat: bool = True
    kubelets: list[Kubelet] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)

    def scaled(self, count: float) -> int:
        """A number as large as this run wants it, at least 1."""
        return max(1, round(count * self.size))

    def kubelet(
        self,
        replicas: int,
        settings: dict[str, str] | None = None,
        *,
        module: str = "sluicegate",
        environment: dict[str, str] | None = None,
    ) -> Kubelet:
        """Start workers that are restarted when they exit; the runner stops them at the end."""
        started = Kubelet(
            self.lane, replicas, settings or {}, self.history, module=module, environment=environment
        )
        self.kubelets.append(started)
        return started

    def load(self, rate_per_s: float, *, make: Make = plain_post, first: int = 0) -> Load:
        """Start to send; what is accepted goes to :attr:`sent`. The runner stops it if the scenario does not."""
        seed = self.rng.randrange(2**32)
        started = Load(
            self.lane, rate_per_s=rate_per_s, seed=seed, make=make, sent=self.sent, first=first
        ).start()
        self.loads.append(started)
        return started

    def note(self, what: str, **facts: Fact) -> None:
        """Write to the history, and keep the facts for the report."""
        self.history.note(what, **facts)
        self.notes.update(facts)

    def require(self, condition: object, message: str) -> None:
        """Demand something beyond the promise; a demand that is not met fails the scenario at its end."""
        if not condition:
            self.history.note("not met", message=message)
            self.broken.append(message)

    def expect(
        self, *, one_action: bool = True, open_tenants: set[str] | None = None, may_repeat: bool = True
    ) -> None:
        """Say what the outcome may show: posts with two actions, tenants that fail open, repeats."""
        self.one_action = one_action
        self.may_repeat = may_repeat
        self.open_tenants = open_tenants or set()

    def behind(self) -> int:
        """Records of the input topic that the group has not acknowledged."""
        lane = self.lane
        now = committed(lane.bootstrap, lane.group, lane.posts)
        return sum(end - now[number] for number, end in ends(lane.bootstrap, lane.posts).items())

    def wait_settled(self, within_s: float = 90.0) -> None:
        """Wait until everything on the input topic is acknowledged.

        Raises:
            AssertionError: It was not in time.
        """
        deadline = time.monotonic() + within_s
        while (behind := self.behind()) > 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"not settled within {within_s:g} s: {behind} records not acknowledged")
            time.sleep(_LOOK_S)
        self.history.note("settled", records=len(self.sent))

    def wait_answered(self, within_s: float = 60.0) -> bool:
        """Wait until every post sent has an answer; False where one has none in time.

        For topics whose offsets begin again: there the group's offsets do not tell what was answered.
        """
        deadline = time.monotonic() + within_s
        while lost := len(account(self.sent, self.lane.read()).lost):
            if time.monotonic() > deadline:
                self.history.note("not answered", records=lost)
                return False
            time.sleep(_LOOK_S)
        self.history.note("answered", records=len(self.sent))
        return True
