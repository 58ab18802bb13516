from __future__ import annotations

import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.kafka import check as cluster_probe

if TYPE_CHECKING:
    import pytest
    from confluent_kafka import TopicPartition


class SilentCluster:
    """Takes a question about a group, and never answers."""

    def describe_consumer_groups(self, groups: list[str], **_options: Any) -> dict[str, Future[None]]:
        return {group: Future() for group in groups}


def test_a_coordinator_that_does_not_answer_in_time_is_a_fact_and_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_probe, "_DETAIL_S", 0.01)
    assert cluster_probe._describe_group(SilentCluster(), "g") == (None, "_TIMED_OUT")


class StampedCluster:
    """Answers where the latest timestamp of a partition stands, and where the first from a time on."""

    def __init__(self, stamps: dict[str, list[int]]) -> None:
        self.stamps = stamps

    def list_offsets(self, asked: dict[TopicPartition, Any], **_options: Any) -> dict[Any, Future[Any]]:
        answers: dict[Any, Future[Any]] = {}
        for place, which in asked.items():
            stamps, least = self.stamps[place.topic], getattr(which, "timestamp", None)
            fitting = (
                [one for one in stamps if one >= least] if least is not None else [max(stamps, default=-1)]
            )
            answers[place] = Future()
            answers[place].set_result(SimpleNamespace(offset=0, timestamp=next(iter(fitting), -1)))
        return answers


def test_of_records_ahead_of_the_time_a_second_one_is_looked_for() -> None:
    now = time.time_ns() // 1_000_000
    stamps = {
        "calm": [now - 9, now - 5],
        "one": [now - 5, now + 10**9],
        "many": [now + 90_000, now + 95_000],
        "empty": [],
    }
    found = cluster_probe._stamps(StampedCluster(stamps), {name: [0] for name in stamps})
    assert {name: sorted(some) for name, some in found.items()} == {
        "calm": [now - 5],
        "one": [now + 10**9],
        "many": [now + 90_000, now + 95_000],
    }
