"""Rows of public benchmarks are told by id, source and text, and never train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from sluicegate.engines.adapt.data import public_benchmarks
from sluicegate.engines.adapt.data.public_benchmarks import PublicBenchmarks, packed, text_hash
from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.plan import read_rows
from support.labelled import row, rows_of, write_lines

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "Nobody ever wrote this sentence about marzipan before."


@pytest.fixture
def known() -> PublicBenchmarks:
    found = text_hash(TEXT)
    assert found is not None
    return PublicBenchmarks({"HateCheck": [found]})


@pytest.mark.parametrize(
    "text",
    [TEXT, TEXT.upper(), f"  {TEXT[:-1]} !!! 😡", TEXT.replace(" ", "\u200b "), TEXT.replace("a", "ａ")],
)
def test_a_text_is_told_whatever_stands_between_its_letters(known: PublicBenchmarks, text: str) -> None:
    (found,) = rows_of([row(text=text)])
    assert known.name_of(found) == "HateCheck"


def test_other_texts_and_what_anybody_says_are_not(known: PublicBenchmarks) -> None:
    (other,) = rows_of([row(text=TEXT.replace("marzipan", "nougat"))])
    assert known.name_of(other) is None
    assert text_hash("I hate this!") is None


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"id": "hatecheck:17"}, "HateCheck"),
        ({"source": "multilingual-hate-check"}, "HateCheck"),
        ({"id": "xstest_v2-3"}, "XSTest"),
        ({"source": "SimpleSafetyTests"}, "SimpleSafetyTests"),
        ({"source": "openai_moderation"}, "OpenAI moderation"),
        ({"id": "textbook:1", "source": "my hated checks"}, None),
    ],
)
def test_ids_and_sources_are_told(known: PublicBenchmarks, fields: dict[str, str], name: str | None) -> None:
    (found,) = rows_of([row(**fields)])
    assert known.name_of(found) == name


def test_the_shipped_hashes_are_those_of_four_benchmarks() -> None:
    shipped = PublicBenchmarks.shipped()
    assert set(shipped._names.values()) == {
        "HateCheck",
        "XSTest",
        "SimpleSafetyTests",
        "OpenAI moderation",
    }
    assert len(shipped._names) > 36_000


def test_a_file_is_read_as_it_was_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {"A": [b"12345", b"abcde", b"12345"], "B": [b"zzzzz"]}
    folder = tmp_path / "assets" / "public_benchmarks"
    folder.mkdir(parents=True)
    (folder / public_benchmarks.FILE).write_bytes(packed(hashes))
    monkeypatch.setattr(public_benchmarks, "files", lambda _: tmp_path)
    assert PublicBenchmarks.shipped()._names == {b"12345": "A", b"abcde": "A", b"zzzzz": "B"}


def test_a_training_refuses_such_a_row_and_names_its_line(tmp_path: Path) -> None:
    rows = [row(id=one, kind="post", source="s") for one in ("1", "xstest:2")]
    write_lines(tmp_path / "train.jsonl", rows)
    (tmp_path / "dev.jsonl").write_bytes(orjson.dumps(row(id="3", kind="post", source="s")) + b"\n")
    with pytest.raises(TrainingError, match=r"train\.jsonl:2: a row of the public benchmark XSTest"):
        read_rows(tmp_path)
