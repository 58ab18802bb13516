"""The desk's own state for Prometheus: what it waits for, and how much it has not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sluicegate.pipeline.review.outbox import Outbox
from sluicegate.pipeline.review.projector import Projector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric


class DeskHealth(Collector):
    """What the threads of a desk say of themselves. It asks neither the store nor the brokers.

    Args:
        projector: It reads the topics.
        outbox: It sends what was decided.
    """

    def __init__(self, projector: Projector, outbox: Outbox) -> None:
        self._projector = projector
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        hold = GaugeMetricFamily(
            "sluicegate_review_hold",
            "1 while a part of the desk waits for the store or for the brokers.",
            labels=["name"],
        )
        hold.add_metric(["projector"], self._projector.trouble is not None)
        hold.add_metric(["outbox"], self._outbox.trouble is not None)
        yield hold
        yield CounterMetricFamily(
            "sluicegate_review_unreadable_records",
            "Records that the desk passed over: they are none of ours, or no table has room for them.",
            value=self._projector.unreadable,
        )
        yield GaugeMetricFamily(
            "sluicegate_review_unread_records",
            "Records that stand on the topics and that the desk has not read, as far as the brokers told.",
            value=self._projector.unread,
        )
