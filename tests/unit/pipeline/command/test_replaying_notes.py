"""The notes of replays, read from a control topic with several partitions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from sluicegate.pipeline.command import replaying
from sluicegate.pipeline.dead_letters import ReplayNote
from sluicegate.pipeline.settings.tree import Settings
from unit.pipeline.test_facts import record

if TYPE_CHECKING:
    import pytest


class TwoPartitions:
    """Gives a newer note first: it stands in the partition that is read first."""

    def __init__(self, *_given: object, **_named: object) -> None:
        pass

    def __enter__(self) -> SimpleNamespace:
        newer = ReplayNote("posts", "2026-01-02T00:00:00+00:00")
        older = ReplayNote("elsewhere", "2026-01-01T00:00:00+00:00")
        records = [record(b"one", newer.encode()), record(b"one", older.encode())]
        return SimpleNamespace(read_all=lambda: records)

    def __exit__(self, *_exc: object) -> None:
        pass


def test_of_two_notes_the_newer_counts_whichever_is_read_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "TopicReader", TwoPartitions)
    assert replaying.noted(Settings())["one"].topic == "posts"
