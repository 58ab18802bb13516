"""Files to documents: both forms, whatever is wrong with a line, and the line that it stands on."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.data.row_files import LINE_BYTES, RecordFile
from sluicegate.engines.adapt.errors import PrepareError, RowFault

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, content: bytes | str) -> list[tuple[int, Any]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    records = RecordFile(path)
    found = [(record.line, record.content) for record in records.records()]
    assert records.bytes_read == path.stat().st_size
    assert records.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def wrong(content: object) -> str:
    assert isinstance(content, RowFault)
    return content.wrong


def test_blank_lines_count_as_lines_and_give_nothing(tmp_path: Path) -> None:
    found = read(tmp_path / "a.jsonl", '\ufeff{"text": "a"}\n\n  \r\n{"text": "b"}')
    assert found == [(1, {"text": "a"}), (4, {"text": "b"})]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"text": ', "no JSON object"),
        (b'["a"]', "no JSON object"),
        (b"plain words", "no JSON object"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "' + b"x" * LINE_BYTES + b'"}', "longer than 1,000,000 bytes"),
    ],
    ids=["cut", "array", "words", "bytes", "long"],
)
def test_a_bad_line_is_a_fault_and_the_next_one_is_read(tmp_path: Path, line: bytes, said: str) -> None:
    (first, bad, last) = read(tmp_path / "a.jsonl", b'{"a": 1}\n' + line + b'\n{"b": 2}\n')
    assert (first, last) == ((1, {"a": 1}), (3, {"b": 2}))
    assert (bad[0], wrong(bad[1])) == (2, said)


def test_an_array_is_told_how_to_become_lines(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match=r"jq -c"):
        read(tmp_path / "a.json", '[{"text": "a"}]')


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match=r"absent\.jsonl cannot be read"):
        list(RecordFile(tmp_path / "absent.jsonl").records())


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_whatever_separates_its_cells(tmp_path: Path, separator: str) -> None:
    lines = [["Text", " Severity ", "categories"], ["a", "unsafe", '"PII|Violent"'], ["b", "safe", ""]]
    found = read(tmp_path / "a.csv", "\r\n".join(separator.join(line) for line in lines))
    assert found == [
        (2, {"text": "a", "severity": "unsafe", "categories": ["PII", "Violent"]}),
        (3, {"text": "b", "severity": "safe", "categories": []}),
    ]


def test_a_text_over_several_lines_has_the_line_it_begins_on(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", 'text,severity\n"one\ntwo",safe\n\nthree,safe\n')
    assert found == [
        (2, {"text": "one\ntwo", "severity": "safe"}),
        (5, {"text": "three", "severity": "safe"}),
    ]


def test_cells_become_what_json_would_have(tmp_path: Path) -> None:
    header = "text,severity,categories,refusal,source_labels,context\n"
    (found,) = read(
        tmp_path / "a.csv",
        header + 'a,unsafe,"[""Suicide & Self-Harm"", ""PII""]",no,"{""tag"": 1}",what is it?\n',
    )
    assert found[1] == {
        "text": "a",
        "severity": "unsafe",
        "categories": ["Suicide & Self-Harm", "PII"],
        "refusal": False,
        "source_labels": {"tag": 1},
        "context": "what is it?",
    }


def test_an_empty_cell_of_categories_says_none_and_a_missing_column_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "text,severity,categories\na,unsafe,None\n")[0][1]["categories"] == []
    assert "categories" not in read(tmp_path / "b.csv", "text,severity\na,unsafe\n")[0][1]


@pytest.mark.parametrize("header", ["comment,label", "", "text,label", "input,severity"])
def test_a_table_without_the_columns_is_refused_without_quoting_it(tmp_path: Path, header: str) -> None:
    with pytest.raises(PrepareError, match="the first line must name the columns") as refused:
        read(tmp_path / "a.csv", f"{header}\nx,y\n")
    assert "comment" not in str(refused.value)


def test_what_no_table_has_is_a_fault(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", b"text,severity\na,safe,more\n\xff,safe\nb,safe\n")
    assert [line for line, _ in found] == [2, 3, 4]
    assert [wrong(content) for _, content in found[:2]] == [
        "more cells than the header has columns",
        "not UTF-8",
    ]
    assert found[2][1] == {"text": "b", "severity": "safe"}


def test_a_quote_that_is_never_closed_is_a_fault(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", "text,severity\n" + '"' + "many words\n" * 120_000)
    assert (found[0][0], wrong(found[0][1])) == (2, "no row of CSV")


@given(
    documents=st.lists(
        st.dictionaries(st.text(), st.text(st.characters(exclude_categories=["Cs"]))).filter(bool), max_size=5
    )
)
def test_every_object_comes_back_on_its_line(
    tmp_path_factory: pytest.TempPathFactory, documents: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    found = read(path, "".join(json.dumps(one) + "\n" for one in documents))
    assert found == list(enumerate(documents, 1))
