"""A file is replaced whole, or stays as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.files import replace_file, replacing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("durable", [False, True])
def test_the_earlier_content_stands_until_the_block_ends(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"earlier")
    with replacing(path, durable=durable) as stream:
        stream.write(b"later")
        assert path.read_bytes() == b"earlier"
    assert path.read_bytes() == b"later"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_earlier_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    replace_file(path, b"earlier")
    with pytest.raises(ValueError, match="no"), replacing(path) as stream:
        stream.write(b"later")
        raise ValueError("no")
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none" / "file", b"")
