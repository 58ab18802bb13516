"""A finished run is told to a tracker once, whole, and without a text. The tracker is a stand-in with MLflow's calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.adapt.cycle.tracking import tell, tracked_run
from sluicegate.engines.adapt.errors import CycleError

if TYPE_CHECKING:
    from pathlib import Path


class Tracker:
    """What an MlflowClient does, as far as it is called."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.breaks = breaks

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if self.runs else None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, _experiments: list[str], _filter: str) -> list[str]:
        return [name for name, one in self.runs.items() if one["tags"] and one["status"] == "FINISHED"]

    def create_run(self, _experiment: str, run_name: str) -> Any:
        name = f"{run_name}-{len(self.runs)}"
        self.runs[name] = {"params": {}, "metrics": {}, "files": [], "tags": {}, "status": "RUNNING"}
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def log_param(self, run: str, key: str, value: str) -> None:
        self.runs[run]["params"][key] = value

    def log_metric(self, run: str, key: str, value: float, timestamp: int) -> None:
        assert timestamp == 1_796_256_000_000
        self.runs[run]["metrics"][key] = value

    def log_artifact(self, run: str, path: str) -> None:
        if self.breaks:
            raise ConnectionError(path)
        self.runs[run]["files"].append(path.rpartition("/")[2])

    def set_tag(self, run: str, key: str, value: str) -> None:
        self.runs[run]["tags"][key] = value

    def set_terminated(self, run: str, status: str, end_time: int | None = None) -> None:
        self.runs[run] |= {"status": status, "end_time": end_time}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run as a cycle leaves it."""
    run = tmp_path / "weekly-0123456789ab"
    (run / "facts").mkdir(parents=True)
    result = {
        "snapshot": "sha256:5",
        "digest": None,
        "passed": False,
        "why": "the gate refused it",
        "trigger": "forced",
        "at": "2026-12-03T00:00:00+00:00",
        "rows": 12,
        "held": 1,
        "near_golden": 0,
        "leaks": 0,
        "taught_gain": 0.25,
        "worst_slice": ["2026-11", -0.02],
        "seconds": {"train": 61.0},
    }
    checks = [
        {"by": "all", "what": "macro_f1", "new": 0.75, "current": 0.5},
        {"by": "all", "what": "unseen", "new": None, "current": None},
        {"by": "language", "what": "macro_f1", "new": 0.7, "current": 0.4},
    ]
    gate = {"checks": checks, "months": {"slices": {"2026-11": {"new": 0.9}}}}
    (run / "result.json").write_bytes(orjson.dumps(result))
    (run / "gate.json").write_bytes(orjson.dumps(gate))
    (run / "gate.md").write_text("# Gate")
    (run / "facts" / "01-train.json").write_text("{}")
    (run / "new").mkdir()
    (run / "new" / "scores.jsonl").write_text('{"found_reason": "a text of somebody"}')
    return run


def test_digests_measures_and_reports_are_told_and_no_scores(folder: Path) -> None:
    tracker = Tracker()
    name = tell(tracker, tracked_run(folder), "weekly")
    assert name is not None
    told = tracker.runs[name]
    assert told["params"] == {
        "snapshot": "sha256:5",
        "bundle": "",
        "passed": "false",
        "why": "the gate refused it",
        "trigger": "forced",
    }
    assert told["metrics"] == {
        "rows": 12,
        "held": 1,
        "near_golden": 0,
        "leaks": 0,
        "taught_gain": 0.25,
        "worst_slice": -0.02,
        "seconds/train": 61.0,
        "right/2026-11": 0.9,
        "new/macro_f1": 0.75,
        "current/macro_f1": 0.5,
    }
    assert told["files"] == ["gate.md", "gate.json", "facts"]
    assert (told["status"], told["tags"]) == ("FINISHED", {"sluicegate.run": folder.name})


def test_a_run_is_told_once(folder: Path) -> None:
    tracker, run = Tracker(), tracked_run(folder)
    assert tell(tracker, run, "weekly") is not None
    assert tell(tracker, run, "weekly") is None
    assert len(tracker.runs) == 1


def test_one_that_was_cut_off_is_told_again(folder: Path) -> None:
    tracker, run = Tracker(breaks=True), tracked_run(folder)
    with pytest.raises(ConnectionError):
        tell(tracker, run, "weekly")
    tracker.breaks = False
    assert tell(tracker, run, "weekly") is not None
    assert [(one["status"], bool(one["tags"])) for one in tracker.runs.values()] == [
        ("FAILED", False),
        ("FINISHED", True),
    ]


@pytest.mark.parametrize("kept", ["", "gate.json", "result.json"])
def test_a_folder_without_a_finished_run_is_refused(folder: Path, kept: str) -> None:
    for name in ("gate.json", "result.json"):
        if name != kept:
            (folder / name).unlink()
    with pytest.raises(CycleError, match="no run that has ended"):
        tracked_run(folder)
