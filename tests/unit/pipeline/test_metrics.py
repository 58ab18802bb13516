from __future__ import annotations

from sluicegate.pipeline.metrics import Metrics


def test_a_producers_inventions_cannot_grow_a_label_without_bound() -> None:
    metrics = Metrics()
    seen = {metrics._tenant(f"tenant-{number}") for number in range(1000)}
    assert len(seen) == 201
    assert "other" in seen
    assert metrics._tenant("tenant-0") == "tenant-0"


def test_two_workers_in_one_process_do_not_share_a_registry() -> None:
    first, second = Metrics(), Metrics()
    first.taken.inc()
    assert second.registry.get_sample_value("sluicegate_records_taken_total") == 0
