"""What watches a flow: its clock, holds, busy meter, metrics and tracing, passed down together."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.observe.holds import HoldName, Holds
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.observe.tracing import NO_TRACING, Tracing
from sluicegate.pipeline.settings.tree import TracingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class BusyMeter:
    """Adds up the seconds in which at least ``saturating`` prompts were in work.

    Args:
        saturating: Prompts that saturate the engine, by its own limit.
        clock: Monotonic seconds.
        most: The engine is sent no more at once. The others wait in this process, and keep it no busier.
    """

    def __init__(self, saturating: int, clock: Callable[[], float], *, most: int | None = None) -> None:
        self._saturating = inf if most is not None and most < saturating else saturating
        self._clock = clock
        self._in_work = 0
        self._busy_s = 0.0
        self._since = clock()

    @contextmanager
    def work(self, prompts: int) -> Iterator[None]:
        """Count prompts as in work for the length of the block."""
        self._shift(prompts)
        try:
            yield
        finally:
            self._shift(-prompts)

    @property
    def in_work(self) -> int:
        """Prompts in work now."""
        return self._in_work

    def busy_s(self) -> float:
        """Seconds of saturation so far."""
        self._shift(0)
        return self._busy_s

    def _shift(self, by: int) -> None:
        now = self._clock()
        if self._in_work >= self._saturating:
            self._busy_s += now - self._since
        self._since = now
        self._in_work += by


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
        cls,
        saturating_prompts: int,
        clock: Clock | None = None,
        tracing: Tracing = NO_TRACING,
        *,
        most_prompts: int | None = None,
    ) -> Instruments:
        """Make a set for an engine that this many prompts saturate, and that gets no more than ``most_prompts`` at once."""
        clock = clock or Clock()
        metrics = Metrics()

        def show(name: HoldName, holding: bool) -> None:
            metrics.hold.labels(name).set(int(holding))

        busy = BusyMeter(saturating_prompts, clock.monotonic, most=most_prompts)
        for shown in (metrics.saturated_seconds, metrics.busy_seconds):
            shown.set_function(busy.busy_s)
        metrics.in_work.set_function(lambda: busy.in_work)
        return cls(clock, Holds(clock.monotonic, show), busy, metrics, tracing)


def open_tracing(settings: TracingSettings) -> Tracing:
    """What the settings ask for; sends from now on.

    Raises:
        StartError: The client library is not installed.
    """
    if not settings.enabled:
        return NO_TRACING
    try:
        from sluicegate.pipeline.observe.spans import Spans  # noqa: PLC0415 - an extra, loaded only where it is used
    except ModuleNotFoundError as error:
        raise StartError(
            "tracing.enabled needs OpenTelemetry: pip install 'sluicegate[otel]', or set tracing.enabled to false"
        ) from error
    return Spans.over_http(settings.endpoint)
