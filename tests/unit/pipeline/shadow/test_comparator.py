"""Two comparators on one file of counts would each write down half of what is known."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.files import only_one
from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.settings.candidate import CandidateSettings
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.comparator import Comparator, _Resolutions
from support.candidates import EXPERIMENT, write_keys

if TYPE_CHECKING:
    from pathlib import Path


def comparator(folder: Path, counts: str = "comparison.json") -> Comparator:
    if not (folder / "keys").exists():
        write_keys(folder)
    candidate = CandidateSettings(experiment=EXPERIMENT, keys=folder / "keys", state_file=folder / counts)
    return Comparator(Settings(candidate=candidate))


def test_a_second_comparator_on_the_same_file_ends_and_says_so(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "comparison.json.lock"),
        pytest.raises(CandidateError, match="another comparator counts in"),
    ):
        comparator(tmp_path).run(threading.Event())


class Records:
    """A topic's records, without a cluster."""

    def __init__(self, *at_ms: int) -> None:
        self.left = [
            TopicRecord("resolutions", 0, number, b"", b"", timestamp_ms=at)
            for number, at in enumerate(at_ms)
        ]

    def read(self, _timeout_s: float) -> list[TopicRecord]:
        found, self.left = self.left, []
        return found


def resolutions(monkeypatch: pytest.MonkeyPatch, *at_ms: int) -> _Resolutions:
    made = _Resolutions(Settings(), {})
    monkeypatch.setattr(made, "_tail", Records(*at_ms))
    monkeypatch.setattr(made, "_is_open", True)
    return made


def test_what_people_decide_waits_for_the_verdict_that_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparator that was away reads all decisions at once, and verdicts in their order."""
    found = resolutions(monkeypatch, 0, 1_000, 2_000, 3_000)
    assert [one.offset for one in found.due(1.5)] == [0, 1]
    assert list(found.due(1.5)) == []
    assert [one.offset for one in found.due(None)] == [2, 3], "no verdict is left to wait for"


def test_a_decision_from_the_future_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolutions(monkeypatch, 4_000_000_000_000, 1_000)
    assert [one.offset for one in found.due(time.time() + 1)] == [0, 1]


def test_the_file_is_free_again_when_a_comparator_ends(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    comparator(tmp_path).run(stop)
    comparator(tmp_path).run(stop)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match=r"cannot be written to .*candidate\.state_file"):
        comparator(tmp_path, "nowhere/comparison.json").run(threading.Event())
