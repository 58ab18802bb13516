"""Two comparators on one file of counts would each write down half of what is known."""

from __future__ import annotations

import threading
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


def test_what_people_decide_waits_for_the_verdict_that_it_is_about() -> None:
    """A comparator that was away reads all decisions at once, and verdicts in their order."""
    resolutions = _Resolutions(Settings(), {})
    resolutions._waiting.extend(  # the topic's records, without a cluster
        TopicRecord("resolutions", 0, number, b"", b"", timestamp_ms=1_000 * number) for number in range(4)
    )
    assert [one.offset for one in resolutions.due(1.5)] == [0, 1]
    assert list(resolutions.due(1.5)) == []
    assert [one.offset for one in resolutions.due(None)] == [2, 3], "no verdict is left to wait for"


def test_the_file_is_free_again_when_a_comparator_ends(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    comparator(tmp_path).run(stop)
    comparator(tmp_path).run(stop)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match=r"cannot be written to .*candidate\.state_file"):
        comparator(tmp_path, "nowhere/comparison.json").run(threading.Event())
