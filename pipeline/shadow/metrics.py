"""Metrics of a shadow and of a comparator, under names that no alert and no sum over workers knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORKER, _SHADOW = "sluicegate_", "sluicegate_shadow_"


class _Renamed(Collector):
    """Metrics of a worker, as a shadow's: what it judges is no verdict, and its hold holds nobody up."""

    def __init__(self, worker: CollectorRegistry) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """All that the worker counts."""
        for metric in self._worker.collect():
            renamed = Metric(_shadow_name(metric.name), metric.documentation, metric.type, metric.unit)
            renamed.samples = [one._replace(name=_shadow_name(one.name)) for one in metric.samples]
            yield renamed


class ShadowMetrics:
    """What a shadow counts beside what a worker does.

    Args:
        worker: The registry of the worker that it is.
    """

    def __init__(self, worker: CollectorRegistry) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Renamed(worker))
        self.share = Gauge(
            f"{_SHADOW}share",
            "Share of the posts that the candidate judges now: below candidate.share while the shadow lags.",
            registry=self.registry,
        )
        self.passed = Counter(
            f"{_SHADOW}passed",
            "Records that it left unjudged: outside of the sample, shed since it lagged, or no post.",
            ("why",),
            registry=self.registry,
        )


def _shadow_name(name: str) -> str:
    return f"{_SHADOW}{name.removeprefix(_WORKER)}" if name.startswith(_WORKER) else name
