from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.kafka import check as cluster_probe

if TYPE_CHECKING:
    import pytest


class SilentCluster:
    """Takes a question about a group, and never answers."""

    def describe_consumer_groups(self, groups: list[str], **_options: Any) -> dict[str, Future[None]]:
        return {group: Future() for group in groups}


def test_a_coordinator_that_does_not_answer_in_time_is_a_fact_and_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_probe, "_DETAIL_S", 0.01)
    assert cluster_probe._describe_group(SilentCluster(), "g") == (None, "_TIMED_OUT")
