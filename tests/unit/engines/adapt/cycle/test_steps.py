"""Steps: what is done once, what is done again, and what a step that was cut off leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.adapt.cycle.steps import StepRunner, tree_digest

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, given: Path, done: list[str], *, goes_on: bool = False, fails: bool = False) -> None:
    steps = StepRunner(folder, lambda _: None)

    def work() -> None:
        done.append("left" if (folder / "out").exists() else "empty")
        (folder / "out").write_text("partly" if fails else "whole")
        if fails:
            raise RuntimeError

    steps.step("one", work, inputs={"given": given, "seed": "1"}, outputs=[folder / "out"], goes_on=goes_on)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given"
    path.write_text("a")
    return path


def test_a_step_is_done_once(tmp_path: Path, given: Path) -> None:
    done: list[str] = []
    run(tmp_path, given, done)
    run(tmp_path, given, done)
    assert done == ["empty"]


def test_what_changed_or_is_gone_is_done_again(tmp_path: Path, given: Path) -> None:
    done: list[str] = []
    run(tmp_path, given, done)
    given.write_text("b")
    run(tmp_path, given, done)
    (tmp_path / "out").unlink()
    run(tmp_path, given, done)
    assert len(done) == 3


@pytest.mark.parametrize(("goes_on", "found"), [(False, "empty"), (True, "left")])
def test_a_step_that_was_cut_off_is_done_again(
    tmp_path: Path, given: Path, goes_on: bool, found: str
) -> None:
    done: list[str] = []
    with pytest.raises(RuntimeError):
        run(tmp_path, given, done, goes_on=goes_on, fails=True)
    run(tmp_path, given, done, goes_on=goes_on)
    assert done == ["empty", found]
    assert (tmp_path / "out").read_text() == "whole"


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    seen = {tree_digest(folder), tree_digest(tmp_path / "none")}
    (folder / "a").write_text("x")
    seen.add(tree_digest(folder))
    (folder / "a").rename(folder / "b")
    seen.add(tree_digest(folder))
    assert len(seen) == 4
