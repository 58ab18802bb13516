"""Metrics of the desk, counted when they are asked for."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.pipeline.review.figures import QueueFigures
from sluicegate.pipeline.review.outbox import waiting
from sluicegate.pipeline.review.store import ReviewStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric


class ReviewMetrics:
    """What Prometheus reads of a desk.

    Args:
        store: Has what is counted.
        figures: Of the queues.
        health: Of the desk's threads; None where none run.
    """

    def __init__(self, store: ReviewStore, figures: QueueFigures, health: Collector | None = None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Waiting(store, figures))
        self.answers = Counter(
            "sluicegate_review_answers",
            "Answers of reviewers, by what became of them.",
            ["outcome"],
            registry=self._registry,
        )

        # Apart: these are told while the store is away, too.
        self._own = CollectorRegistry()
        self._away = Gauge(
            "sluicegate_review_store_away", "1 while the store does not answer.", registry=self._own
        )
        if health is not None:
            self._own.register(health)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them. While the store is away, those that are counted in it are left out."""
        try:
            counted = generate_latest(self._registry)
        except SQLAlchemyError:
            counted = b""
        self._away.set(not counted)
        return counted + generate_latest(self._own)


class _Waiting(Collector):
    """What waits: cases for people, and records for the brokers."""

    def __init__(self, store: ReviewStore, figures: QueueFigures) -> None:
        self._store = store
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Count now, or as the pages last did."""
        open_cases = GaugeMetricFamily(
            "sluicegate_review_cases", "Cases that wait for a person.", labels=["tenant", "state"]
        )
        overdue = GaugeMetricFamily(
            "sluicegate_review_overdue_seconds",
            "For how long the first case of a tenant has been overdue; 0 where none is.",
            labels=["tenant"],
        )
        sizes: dict[tuple[str, str], int] = defaultdict(int)
        due: dict[str, float] = {}
        for one in self._figures.current().queues:
            sizes[one.tenant, one.state] += one.size
            due[one.tenant] = min(one.due_at, due.get(one.tenant, one.due_at))
        for (tenant, state), size in sizes.items():
            open_cases.add_metric([tenant, state], size)
        for tenant, at in due.items():
            overdue.add_metric([tenant], max(0.0, time.time() - at))
        with self._store.reading() as connection:
            left = waiting(connection)
        yield open_cases
        yield overdue
        yield GaugeMetricFamily(
            "sluicegate_review_unsent_records", "Records of decisions that no broker has yet.", value=left
        )
