"""The small day with a GPU, as far as it needs none: it goes on where it was, and its report says what it is not."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from gpu import day_small
from gpu.day_small import PARTS, NotRunError, measure, write_report
from gpu.stack import GUARD_06B, GUARD_8B, TINY
from sluicegate.engines.build.shape import QWEN3GUARD_8B

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpu.day_small import Job


def jobs(done: list[str], *names: str) -> Iterator[Job]:
    def work(name: str, number: int) -> float:
        done.append(name)
        return float(number)

    for number, name in enumerate(names):
        yield name, partial(work, name, number)


def raising(error: Exception) -> Callable[[], float]:
    def work() -> float:
        raise error

    return work


def test_the_shapes_are_those_of_the_guards() -> None:
    assert GUARD_8B.linear_parameters == QWEN3GUARD_8B.linear_parameters
    assert (GUARD_8B.layers, GUARD_8B.vocabulary) == (QWEN3GUARD_8B.layers, QWEN3GUARD_8B.vocab)
    assert 15 < GUARD_8B.linear_parameters / GUARD_06B.linear_parameters < 17


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path, done = tmp_path / "part.json", list[str]()
    assert measure(path, jobs(done, "a", "b"), 60) == 0
    assert measure(path, jobs(done, "a", "b", "c"), 60) == 0
    assert done == ["a", "b", "c"]
    assert json.loads(path.read_text())["values"] == {"a": 0.0, "b": 1.0, "c": 2.0}


def test_a_part_ends_in_its_time_and_the_next_run_goes_on(tmp_path: Path) -> None:
    path, done = tmp_path / "part.json", list[str]()
    clock = count(0, 4)
    assert measure(path, jobs(done, "a", "b", "c", "d"), 10, clock=lambda: float(next(clock))) == 2
    assert done == ["a", "b"]
    assert json.loads(path.read_text())["left"] == 2
    assert measure(path, jobs(done, "a", "b", "c", "d"), 10) == 0
    assert done == ["a", "b", "c", "d"]


def test_what_does_not_fit_the_card_is_left_out_and_another_fault_is_told(tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    unfit = [("large", raising(RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")))]
    assert measure(path, iter(unfit), 60) == 0
    assert json.loads(path.read_text())["did_not_fit"] == ["large"]
    with pytest.raises(RuntimeError, match="illegal memory access"):
        measure(path, iter([("odd", raising(RuntimeError("CUDA error: illegal memory access")))]), 60)


def test_a_file_that_a_kill_cut_in_two_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    path.write_text('{"values": {"a"', encoding="utf-8")
    done: list[str] = []
    assert measure(path, jobs(done, "a"), 60) == 0
    assert done == ["a"]


def test_the_report_has_every_part_and_says_what_each_does_not_show(tmp_path: Path) -> None:
    write_report(tmp_path, "cpu")
    text = (tmp_path / "report.md").read_text()
    assert text.count("Nothing was measured yet.") == len(PARTS)
    assert all(f"What this does not show: {part.shows_not}" in text for part in PARTS)
    measure(tmp_path / "transfers.json", jobs([], "x", "logits"), 60)
    write_report(tmp_path, "cpu")
    assert "| logits | 1.0 |" in (tmp_path / "report.md").read_text()


def test_a_part_that_cannot_be_run_is_loud_and_the_others_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def some(part: Any, *_: Any) -> Iterator[Job]:
        if part.name == "sitting":
            raise NotRunError("peft is missing: pip install 'sluicegate[adapt]'")
        return jobs(done, part.name)

    monkeypatch.setattr(day_small, "jobs_of", some)
    assert day_small.run(tmp_path, "cpu") == 1
    assert done == [part.name for part in PARTS if part.name != "sitting"]
    assert "!!! NOT RUN: sitting: peft is missing" in capsys.readouterr().out
    assert "**Not run:** peft is missing" in (tmp_path / "report.md").read_text()
    monkeypatch.setattr(day_small, "jobs_of", lambda part, *_: jobs(done, part.name))
    assert day_small.run(tmp_path, "cpu") == 0
    assert done[-1] == "sitting"
    assert "Not run" not in (tmp_path / "report.md").read_text()


def test_the_sitting_prepares_once_estimates_and_goes_on_in_its_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def command(out: Path, *words: str) -> str:
        asked.append(words)
        if "prepare" in words:
            (out / "prepared").mkdir()
            (out / "prepared/train.jsonl").touch()
        if "--dry-run" in words:
            return json.dumps({"tokens_per_s": 5e4, "train_hours": 0.2, "peak_mib": 900})
        return json.dumps({"progress": {"rows": 4000}})

    monkeypatch.setattr(day_small, "_command", command)
    monkeypatch.setattr(day_small, "_require", lambda _: None)
    path = tmp_path / "sitting.json"
    assert measure(path, day_small._sitting(tmp_path, 600), 600) == 0
    assert [words[1] for words in asked] == ["fetch-cpu", "prepare", "train", "train"]
    assert asked[-1][-2:] == ("--minutes", "7")
    assert list(json.loads(path.read_text())["values"].values()) == [5e4, 0.2, 900.0, 4000.0]
    assert "start_from" not in day_small.RECIPE.read_text()  # it would need an adapter that is not here
    assert day_small.ROWS.is_dir()


def test_a_sitting_of_nothing_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared/train.jsonl").touch()
    monkeypatch.setattr(day_small, "_require", lambda _: None)
    monkeypatch.setattr(day_small, "_command", lambda *_: json.dumps({"progress": {"rows": 0}}))
    *_, (_, sit) = day_small._sitting(tmp_path, 600)
    with pytest.raises(NotRunError, match="goes on with it"):
        sit()


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is here")
def test_without_torch_it_says_so_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["day_small", "--out", str(tmp_path / "out")])
    assert day_small.main() == 1
    assert "!!! NOT RUN: torch is not installed here !!!" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.adapt
@pytest.mark.parametrize("name", ["rates-8B-fp8", "rates-8B-bf16", "transfers"])
def test_tiny_shapes_go_through_on_the_cpu(name: str, tmp_path: Path) -> None:
    """Says nothing of a GPU: that the script runs."""
    (part,) = (part for part in PARTS if part.name == name)
    found = list(day_small.jobs_of(part, tmp_path, "cpu", 60, {"8B": TINY}))
    assert len(found) == (5 if name == "transfers" else 18)
    assert found[0][1]() > 0
