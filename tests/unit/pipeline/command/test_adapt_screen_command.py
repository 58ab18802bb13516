"""The command: files, report and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from typer.testing import CliRunner

from sluicegate.engines.screen.model import Screen, ScreenError
from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.adapt import screen as adapt_screen

if TYPE_CHECKING:
    from pathlib import Path

_TELLING = {"safe": "lovely thanks", "controversial": "perhaps doubtful", "unsafe": "filthy vermin"}


def write_rows(path: Path, count: int, **fields: Any) -> Path:
    lines = []
    for at in range(count):
        severity = ("safe", "controversial", "unsafe")[at % 3]
        text = f"{_TELLING[severity]} {'abcdefgh'[at % 8] * 3} {'ijklmno'[at % 7] * 3} {'pqrst'[at % 5] * 3}"
        lines.append(
            {
                "id": f"{path.stem}-{at}",
                "text": text,
                "kind": "post",
                "severity": severity,
                "categories": [],
                "language": "en",
                "source": "own",
                **fields,
            }
        )
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in lines))
    return path


def call(folder: Path, *more: str) -> Any:
    given = [str(folder / "train.jsonl"), str(folder / "dev.jsonl"), "--out", str(folder / "screen")]
    return CliRunner().invoke(app, ["adapt", "screen", *given, "--folds", "2", "--features", "5000", *more])


def test_it_writes_a_screen_a_report_a_page_and_a_picture(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", 600, licence="MIT")
    write_rows(tmp_path / "dev.jsonl", 90)
    done = call(tmp_path, "--json")
    assert done.exit_code == 0, done.output
    report = orjson.loads(done.stdout)
    assert report == orjson.loads((tmp_path / "screen.json").read_bytes())
    screen = Screen.load(tmp_path / "screen")
    assert (report["name"], report["digest"], report["rows"]) == ("screen", screen.digest, 600)
    assert report["dev"]["all"]["rows"] == 90
    assert report["dev"]["all"]["safe"][-1]["answered"] > 0
    page = (tmp_path / "screen.md").read_text(encoding="utf-8")
    assert "![Share answered and share wrong over the tolerance](screen.png)" in page
    assert "| post, en |" in page
    assert "lovely" not in page + done.output  # no text of a row
    assert (tmp_path / "screen.png").read_bytes()[:4] == b"\x89PNG"
    said = call(
        tmp_path, "--overwrite", "--no-unseen-sources", "--report", str(tmp_path / "reports" / "r.json")
    )
    assert said.exit_code == 0, said.output
    assert "600 rows learnt from" in said.output
    assert (tmp_path / "reports" / "r.md").is_file()
    again = call(tmp_path)
    assert isinstance(again.exception, ScreenError)
    assert "is not empty; give another --out, or --overwrite" in str(again.exception)


@pytest.mark.parametrize("split", [None, "dev"])
def test_rows_of_dev_must_not_teach(tmp_path: Path, split: str | None) -> None:
    dev = write_rows(tmp_path / "dev.jsonl", 30, **({"split": split} if split else {}))
    (tmp_path / "train.jsonl").write_bytes(dev.read_bytes())
    done = call(tmp_path)
    assert isinstance(done.exception, ScreenError)
    assert "run `sluicegate adapt prepare`" in str(done.exception)


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt_screen, "_LIBRARIES", ("no_such_library",))
    done = call(tmp_path)
    assert isinstance(done.exception, ScreenError)
    assert str(done.exception) == "no_such_library is missing: pip install 'sluicegate[screen,evaluate]'"


def test_a_name_that_a_manifest_cannot_have_is_told_before_any_work(tmp_path: Path) -> None:
    done = call(tmp_path, "--name", "My screen")
    assert done.exit_code == 2
    assert "--name: up to 64 of" in " ".join(done.output.split())


def test_its_help_teaches() -> None:
    done = CliRunner().invoke(app, ["adapt", "screen", "--help"])
    assert "sluicegate adapt screen prepared/train.jsonl prepared/dev.jsonl --out screen" in " ".join(
        done.output.split()
    )
    assert "docs/shortcuts.md" in done.output
