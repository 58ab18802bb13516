"""Metrics of the desk, counted when they are asked for."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.pipeline.review.figures import WINDOW_S, CountedShare, QueueFigures, QueueSize
from sluicegate.pipeline.review.outbox import waiting
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.schemas import CATEGORIES, ResolutionCause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

TENANTS_MOST = 50
"""Tenants with a label of their own: those with most open cases."""
OTHERS = "_others"
"""The label of all other tenants. No tenant has this name: theirs begin with a letter or a digit."""
_WINDOW = f"Of the last {WINDOW_S / 86_400:g} days; low and high are its interval of 95 %."


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
        self._registry.register(_Decided(figures))
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
        oldest = GaugeMetricFamily(
            "sluicegate_review_oldest_case_seconds", "Age of a tenant's oldest open case.", labels=["tenant"]
        )
        sizes: dict[tuple[str, str], int] = defaultdict(int)
        due: dict[str, float] = {}
        opened: dict[str, float] = {}
        queues = self._figures.current().queues
        named = _named(queues)
        for one in queues:
            tenant = one.tenant if one.tenant in named else OTHERS
            sizes[tenant, one.state] += one.size
            due[tenant] = min(one.due_at, due.get(tenant, one.due_at))
            opened[tenant] = min(one.opened_at, opened.get(tenant, one.opened_at))
        now = time.time()
        for (tenant, state), size in sizes.items():
            open_cases.add_metric([tenant, state], size)
        for tenant, at in due.items():
            overdue.add_metric([tenant], max(0.0, now - at))
        for tenant, at in opened.items():
            oldest.add_metric([tenant], max(0.0, now - at))
        with self._store.reading() as connection:
            left = waiting(connection)
        yield open_cases
        yield overdue
        yield oldest
        yield GaugeMetricFamily(
            "sluicegate_review_unsent_records", "Records of decisions that no broker has yet.", value=left
        )


class _Decided(Collector):
    """What people decided within the window of the figures."""

    def __init__(self, figures: QueueFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """As the pages last counted it. No label names a reviewer, a tenant or a rule: those have no end."""
        figures = self._figures.decided()
        yield GaugeMetricFamily(
            "sluicegate_review_answers_last_hour",
            "Answers of all reviewers within the last hour.",
            value=sum(decided for decided, _ in figures.exposed().values()),
        )
        yield GaugeMetricFamily(
            "sluicegate_review_unsafe_last_hour_most",
            "Texts that the reviewer with most of them found unsafe within the last hour.",
            value=max((unsafe for _, unsafe in figures.exposed().values()), default=0),
        )
        overturned = GaugeMetricFamily(
            "sluicegate_review_overturned_share",
            f"Share of decided cases whose machine's action a person overturned. {_WINDOW}",
            labels=["read", "bound"],
        )
        _bounds(overturned, ["blind"], figures.overturned(blind=True))
        _bounds(overturned, ["shown"], figures.overturned(blind=False))
        yield overturned
        by_category = GaugeMetricFamily(
            "sluicegate_review_category_overturned_share",
            f"Share of review verdicts whose machine's action a person overturned, by category. {_WINDOW}",
            labels=["category", "bound"],
        )
        of_categories = figures.overturned_by("category", cause=ResolutionCause.REVIEW.value)
        for category in CATEGORIES:
            _bounds(by_category, [category], of_categories.get(category, CountedShare(0, 0)))
        yield by_category
        agreement = GaugeMetricFamily(
            "sluicegate_review_agreement_share",
            f"Share of cases that two people read apart, and answered alike. {_WINDOW}",
            labels=["bound"],
        )
        _bounds(agreement, [], figures.agreement())
        yield agreement


def _named(queues: Iterable[QueueSize]) -> set[str]:
    """The tenants with most cases. A post names its tenant itself: without a limit a sender could make labels at will."""
    sizes: dict[str, int] = defaultdict(int)
    for one in queues:
        sizes[one.tenant] += one.size
    return set(sorted(sizes, key=lambda tenant: (-sizes[tenant], tenant))[:TENANTS_MOST])


def _bounds(family: GaugeMetricFamily, labels: list[str], share: CountedShare) -> None:
    """Add a share and its interval. Nothing that was not counted has a share."""
    if share.share is not None:
        family.add_metric([*labels, "share"], share.share)
        family.add_metric([*labels, "low"], share.low)
        family.add_metric([*labels, "high"], share.high)
