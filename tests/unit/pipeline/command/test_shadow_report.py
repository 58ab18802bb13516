"""`sluicegate shadow report`: pages from a summary, and a sentence where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from support.command import run
from unit.pipeline.shadow.summaries import a_summary

if TYPE_CHECKING:
    from pathlib import Path


def test_a_summary_becomes_pages_and_plots(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    file.write_bytes(orjson.dumps(a_summary()))
    done = run("shadow", "report", "--summary", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    made = {one.name for one in (tmp_path / "out").iterdir()}
    assert made == {
        "report.html",
        "report.md",
        "summary.json",
        "shadow-coverage.png",
        "shadow-disagreement.png",
        "shadow-cost.png",
    }
    assert orjson.loads((tmp_path / "out" / "summary.json").read_bytes()) == orjson.loads(file.read_bytes())
    printed = run("shadow", "report", "--summary", str(file))
    assert printed.stdout.startswith("# Candidate retrained beside the incumbent")


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"{", "is no summary"), (b"[]", "is no summary"), (b'{"format": 7}', "this release reads 1")],
)
def test_what_is_no_summary_is_refused_and_nothing_is_written(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "summary.json"
    file.write_bytes(text)
    done = run("shadow", "report", "--summary", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode != 0
    assert said in (done.stdout + done.stderr)
    assert not (tmp_path / "out").exists()


def test_without_a_comparator_s_state_it_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("shadow", "report")
    assert done.returncode != 0
    assert "run this where `sluicegate shadow compare` runs" in " ".join((done.stdout + done.stderr).split())
