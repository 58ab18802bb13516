"""Serving: a comparator in a thread of one process, with its probes and metrics."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.observe.server import OpsServer, Report
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.certificate import Ruling
from sluicegate.pipeline.shadow.comparator import Comparator
from sluicegate.pipeline.shadow.comparison import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric


class ComparatorMetrics(Collector):
    """What a comparator knows. It asks nobody.

    Args:
        comparator: Whose counts are shown.
    """

    def __init__(self, comparator: Comparator) -> None:
        self._comparator = comparator

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        holds = self._comparator.trouble is not None
        yield _gauge("hold", "1 while nothing is compared: the log says why.", float(holds))
        yield CounterMetricFamily(
            "sluicegate_candidate_unreadable_records",
            "Records of verdict topics that are no verdicts of this major version.",
            value=self._comparator.unreadable,
        )
        counting = self._comparator.counting
        if counting is None:
            return
        tally, pairs = counting.tally, counting.pairs
        contents = CounterMetricFamily(
            "sluicegate_candidate_contents",
            "Contents of the sample, by how the two verdicts on them compare.",
            labels=["outcome"],
        )
        for outcome in Outcome:
            contents.add_metric([outcome.value], tally.all.outcomes[outcome])
        yield contents
        yield CounterMetricFamily(
            "sluicegate_candidate_evidence_posts",
            "Posts of evidence: one a cluster and hour.",
            value=tally.all.posts,
        )
        yield CounterMetricFamily(
            "sluicegate_candidate_milder_posts",
            "Posts of evidence on which the candidate is milder.",
            value=tally.all.milder,
        )
        unjoined = CounterMetricFamily(
            "sluicegate_candidate_unjoined_verdicts",
            "Verdicts that were compared with nothing.",
            labels=["why"],
        )
        for why, number in {
            "late": pairs.late,
            "ahead": pairs.ahead,
            "foreign": pairs.foreign.total(),
        }.items():
            unjoined.add_metric([why], number)
        yield unjoined
        both = tally.all.coverage * tally.all.contents
        known = tally.all.contents + pairs.unjoined
        yield _gauge("coverage", "Share of the contents that both judged.", both / known if known else 0.0)
        yield _gauge("open_pairs", "Contents that are held in memory.", len(pairs))
        ruling = GaugeMetricFamily(
            "sluicegate_candidate_ruling", "1 for what is shown of the candidate.", labels=["ruling"]
        )
        concluded = counting.concluded
        now = Ruling(concluded["conclusion"]["ruling"]) if concluded is not None else Ruling.OPEN
        for one in Ruling:
            ruling.add_metric([one.value], float(one is now))
        yield ruling


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sluicegate_candidate_{name}", text, value=value)


async def serve_comparator(settings: Settings, comparator: Comparator) -> None:
    """Run a comparator until SIGTERM or Ctrl-C, or until it ends by itself.

    Raises:
        StartError: The port is taken.
        CandidateError: As for :meth:`~sluicegate.pipeline.shadow.comparator.Comparator.run`.
    """
    registry = CollectorRegistry()
    registry.register(ComparatorMetrics(comparator))
    stop, loop = threading.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def livez() -> Report:
        """Whether the thread goes on."""
        return Report(ok=True, body={"ok": True})

    def readyz() -> Report:
        """Whether it compares."""
        trouble = comparator.trouble
        return Report(ok=trouble is None, body={"ok": trouble is None, "comparing": trouble or "yes"})

    ops = OpsServer(settings.ops, registry, livez=livez, readyz=readyz)
    try:
        await ops.__aenter__()
    except OSError as error:
        raise StartError(
            f"ops.port {settings.ops.port} on {settings.ops.host} cannot be opened ({error.strerror}); "
            "set SLUICEGATE_OPS__PORT to a free one, or 0"
        ) from error
    try:
        await asyncio.to_thread(comparator.run, stop)
    finally:
        await ops.__aexit__()
