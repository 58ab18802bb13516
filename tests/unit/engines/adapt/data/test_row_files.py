"""Input files and the licences that the manifest beside them names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.adapt.data.row_files import SourceBook, input_files, is_licensed
from sluicegate.engines.adapt.errors import PrepareError
from support.labelled import rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.data.rows import Row


def one_row(**fields: str) -> Row:
    return rows_of([{"text": "t", "severity": "safe", **fields}])[0]


def test_a_folder_stands_for_its_data_files_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv", "c.tsv", "README.md", "manifest.json", "conflicts.jsonl"):
        (tmp_path / name).touch()
    assert [path.name for path in input_files([tmp_path])] == ["a.csv", "b.jsonl", "c.tsv"]


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(PrepareError, match="no file and no folder"):
        input_files([tmp_path / "absent"])
    with pytest.raises(PrepareError, match=r"holds no \.jsonl"):
        input_files([tmp_path / "empty"])
    with pytest.raises(PrepareError, match="named twice"):
        input_files([tmp_path, tmp_path / "a.jsonl"])


def test_the_licence_of_a_row_counts_before_that_of_its_source(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"sources": {"s": {"licence": "MIT", "title": "T", "rows": 3}, "odd": 7, "none": {}}})
    )
    book, file = SourceBook(), tmp_path / "s.jsonl"
    assert book.with_licence(one_row(), file).licence == "MIT"
    assert book.with_licence(one_row(licence="CC0-1.0"), file).licence == "CC0-1.0"
    assert book.source(file, "s").told == {"title": "T"}
    for name in ("odd", "none", "unknown"):
        assert book.with_licence(one_row(source=name), file).licence is None
    assert SourceBook().with_licence(one_row(), tmp_path.parent / "s.jsonl").licence is None


@pytest.mark.parametrize(
    ("licence", "taken"),
    [
        ("MIT", True),
        ("mit", True),
        ("CC-BY-4.0 (as published, not confirmed)", True),
        ("CC-BY-SA-4.0", False),
        ("CC-BY-4", False),
        ("MIT-0", False),
    ],
)
def test_a_licence_is_taken_by_its_whole_name(licence: str, taken: bool) -> None:
    assert is_licensed(one_row(licence=licence), ["MIT", "CC-BY-4.0"]) is taken


def test_a_row_without_a_licence_has_none_of_them() -> None:
    assert not is_licensed(one_row(), ["MIT"])


@pytest.mark.parametrize("content", ["[]", "{", '{"sources": []}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(PrepareError, match="is no manifest"):
        SourceBook().source(tmp_path / "a.jsonl", "a")
