"""What watches a flow: its clock, holds, busy meter, metrics and tracing, passed down together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.observe.busy import BusyMeter
from sluicegate.pipeline.observe.holds import Holds
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.observe.tracing import NO_TRACING

if TYPE_CHECKING:
    from sluicegate.pipeline.observe.holds import HoldName
    from sluicegate.pipeline.observe.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Instruments:
    """One set per worker."""

    clock: Clock
    holds: Holds
    busy: BusyMeter
    metrics: Metrics
    tracing: Tracing = NO_TRACING

    @classmethod
    def for_engine(
        cls, saturating_prompts: int, clock: Clock | None = None, tracing: Tracing = NO_TRACING
    ) -> Instruments:
        """Make a set for an engine that so many prompts saturate."""
        clock = clock or Clock()
        metrics = Metrics()

        def show(name: HoldName, holding: bool) -> None:
            metrics.hold.labels(name).set(int(holding))

        busy = BusyMeter(saturating_prompts, clock.monotonic)
        metrics.busy_seconds.set_function(busy.busy_s)
        metrics.in_work.set_function(lambda: busy.in_work)
        return cls(clock, Holds(clock.monotonic, show), busy, metrics, tracing)
