"""Metrics of a shadow: those of a worker under other names, so that no sum and no alert over workers has them."""

from __future__ import annotations

import re

from prometheus_client import generate_latest

from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.shadow.metrics import ShadowMetrics


def names(text: str) -> set[str]:
    return {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}


def test_every_metric_of_a_worker_stands_under_a_name_of_the_shadow_s() -> None:
    metrics = Metrics()
    metrics.verdicts.labels("t", "block", "engine").inc(3)
    shown = names(generate_latest(ShadowMetrics(metrics.registry).registry).decode())
    worker = names(generate_latest(metrics.registry).decode())
    assert all(one.startswith(("sluicegate_shadow_", "process_")) for one in shown)
    assert {one.replace("sluicegate_", "sluicegate_shadow_") for one in worker} <= shown
    assert "sluicegate_shadow_share" in shown
