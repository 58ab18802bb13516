"""What DVC gets of a snapshot: rows without texts, and the file that names them as `dvc add` would."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml
from typer.testing import CliRunner

from sluicegate.engines.adapt.cycle.dvc import write_for_dvc
from sluicegate.engines.adapt.cycle.erasure import erase_author
from sluicegate.engines.adapt.cycle.ledger import CycleLedger, SnapshotRow
from sluicegate.pipeline.command import app

if TYPE_CHECKING:
    from pathlib import Path


def ledger_with(folder: Path, *numbers: int) -> CycleLedger:
    ledger = CycleLedger(folder)
    rows = []
    for number in numbers:
        author = ledger.keys.author("forum", f"author-{number}")
        rows.append(
            SnapshotRow(
                id=f"row-{number}",
                case=f"case-{number}",
                author=author,
                tenant="forum",
                severity="safe",
                basis="single",
                votes=(1, 0, 0),
                decisions=(),
                verdicts=(f"verdict-{number}",),
                decided_at=datetime(2026, 11, 2, tzinfo=UTC),
                sealed=ledger.keys.seal(author, f"case-{number}", b"a text"),
            )
        )
    ledger.keys.save()
    ledger.take_snapshot(rows)
    return ledger


def test_the_file_beside_the_rows_is_what_dvc_reads_and_the_rows_prove_the_digest(tmp_path: Path) -> None:
    ledger = ledger_with(tmp_path / "ledger", 2, 1)
    digest = ledger.newest()
    assert digest is not None
    pointer = write_for_dvc(ledger.snapshot(digest), tmp_path / "out")
    content = pointer.with_suffix("").read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    assert yaml.safe_load(pointer.read_bytes()) == {
        "outs": [
            {
                "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
                "size": len(content),
                "hash": "md5",
                "path": pointer.stem,
            }
        ],
        "desc": f"snapshot {digest}",
    }
    assert content.count(b"\n") == 3
    assert b"sealed" not in content


def test_an_erasure_changes_nothing_of_it(tmp_path: Path) -> None:
    ledger = ledger_with(tmp_path / "ledger", 1, 2)
    digest = ledger.newest()
    assert digest is not None
    before = write_for_dvc(ledger.snapshot(digest), tmp_path / "out").read_bytes()
    erase_author(ledger, "forum", "author-1", every_days=7)
    assert write_for_dvc(ledger.snapshot(digest), tmp_path / "out").read_bytes() == before


def test_the_command_writes_the_newest_snapshot_and_says_what_comes_next(tmp_path: Path) -> None:
    ledger, out = tmp_path / "ledger", tmp_path / "out"
    given = ["data", "dvc", "--ledger", str(ledger), "--out", str(out)]
    ledger.mkdir()
    assert "is no ledger of a cycle" in str(CliRunner().invoke(app, given).exception)
    CycleLedger(ledger)
    assert "no snapshot yet" in str(CliRunner().invoke(app, given).exception)
    ledger_with(ledger, 1)
    shown = CliRunner().invoke(app, given)
    assert shown.exit_code == 0
    assert "dvc commit" in shown.output
    assert sorted(path.suffix for path in out.iterdir()) == [".dvc", ".jsonl"]
