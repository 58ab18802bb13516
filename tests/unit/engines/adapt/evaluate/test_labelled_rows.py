"""Rows to evaluate on: read from files, counted, drawn."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate import labelled_rows
from sluicegate.engines.adapt.evaluate.labelled_rows import draw, read_labelled, rows_digest, stratum
from support.labelled import row, rows_of, sentence, write_lines

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.data.rows import Row

UNSEEN = "an unforgettable marzipan lighthouse"


def many(count: int) -> list[Row]:
    severities = ("safe", "safe", "safe", "controversial", "unsafe")
    return rows_of(
        {"text": sentence(at), "severity": severities[at % 5], "language": "en" if at % 3 else "de"}
        for at in range(count)
    )


def test_every_row_read_is_a_row_or_counted(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "a.jsonl",
        [
            row(id="1", split="dev"),
            row(id="2", split="train"),
            row(id="3", split="dev", severity=UNSEEN),
            row(id="1", split="dev", text="Another text."),
            row(id="4"),
        ],
    )
    (tmp_path / "b.csv").write_text("id,text,severity,categories,split\n5,Well,safe,,dev\n")
    write_lines(tmp_path / "manifest.json", [{"sources": {"a": {"licence": "MIT"}}}])
    found = read_labelled([tmp_path], split="dev")
    assert [one.id for one in found.rows] == ["1", "5"]
    assert (found.faulty_rows, found.other_split_rows, found.repeated_rows) == (1, 2, 1)
    assert found.licences == {"MIT": 1, "not given": 1}
    assert [(one["file"], one["rows"]) for one in found.files] == [("a.jsonl", 1), ("b.csv", 1)]
    assert UNSEEN not in found.faults[0].sentence
    assert len(read_labelled([tmp_path]).rows) == 4


def test_reasons_of_every_split_are_known_with_their_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmful = {"severity": "unsafe", "reason": "Demeans a group."}
    rows = [
        row(id="1", split="dev"),
        row(id="2", split="train", categories=["Violent"], **harmful),
        row(id="3", split="train", categories=["Violent", "PII"], **harmful),
        row(id="4", split="dev", severity="unsafe", categories=["PII"], reason="Another."),
    ]
    path = write_lines(tmp_path / "a.jsonl", rows)
    assert read_labelled([path], split="dev").reasons == {
        "Demeans a group.": {"Violent": 2, "PII": 1},
        "Another.": {"PII": 1},
    }
    monkeypatch.setattr(labelled_rows, "_KEPT_REASONS", 1)
    assert read_labelled([path], split="dev").reasons == {"Demeans a group.": {"Violent": 2, "PII": 1}}


def test_a_category_of_the_engine_is_known(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [row(severity="unsafe", categories=["Investment Advice"])])
    with pytest.raises(EvaluationError, match="1 faulty"):
        read_labelled([path])
    assert len(read_labelled([path], categories=("Violent", "Investment Advice")).rows) == 1


def test_nothing_left_says_what_became_of_the_rows(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [row(), row(severity="none")])
    with pytest.raises(
        EvaluationError, match=r"of the split dev .*: 1 faulty, 1 of another split.*leave out --split"
    ):
        read_labelled([path], split="dev")


def test_only_faulty_rows_are_told_with_the_first_fault(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", [row(id="1", severity=UNSEEN), row(id="2", severity="")])
    with pytest.raises(
        EvaluationError, match=r"2 faulty, .*; the first fault: rows\.jsonl:1: severity: "
    ) as refused:
        read_labelled([tmp_path / "rows.jsonl"])
    assert UNSEEN not in str(refused.value)


def test_rows_of_another_split_are_told_with_the_file_to_name(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [row(id="1", split="train")])
    with pytest.raises(
        EvaluationError, match=r"0 faulty, 1 of another split or none; name a file .* dev\.jsonl"
    ):
        read_labelled([tmp_path / "train.jsonl"], split="dev")


def test_a_split_may_have_any_name_and_those_there_are_are_told(tmp_path: Path) -> None:
    rows = [
        row(id="1", split="Held-out"),
        row(id="2", split="train"),
        row(id="3"),
        row(id="4", split="held-out "),
    ]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    found = read_labelled([path], split="held-out")
    assert [one.id for one in found.rows] == ["1", "4"]
    assert (found.faulty_rows, found.other_split_rows) == (0, 2)
    assert len(read_labelled([path]).rows) == 4
    with pytest.raises(EvaluationError, match=r"held-out \(2\), train \(1\), none \(1\)"):
        read_labelled([path], split="test")


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_rows, "_MOST_ROWS", 2)
    with pytest.raises(EvaluationError, match="more than 2 rows"):
        read_labelled([write_lines(tmp_path / "a.jsonl", [row(id=str(at)) for at in range(3)])])


def test_the_digest_is_of_rows_and_labels_in_any_order() -> None:
    rows = many(6)
    assert rows_digest(rows) == rows_digest(rows[::-1])
    assert rows_digest(rows) != rows_digest(rows[:5])
    assert rows_digest(rows) != rows_digest([rows[0].model_copy(update={"severity": "unsafe"}), *rows[1:]])


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 9))
def test_a_sample_has_its_size_and_every_stratum_its_share(count: int, wanted: int, seed: int) -> None:
    rows = many(count)
    chosen = draw(rows, wanted, seed=seed)
    assert len(chosen) == min(count, wanted)
    assert [one.id for one in chosen] == [one.id for one in rows if one in chosen]
    of_whole, of_sample = Counter(map(stratum, rows)), Counter(map(stratum, chosen))
    for name, members in of_whole.items():
        assert abs(of_sample[name] - len(chosen) * members / len(rows)) < 1


def test_a_sample_depends_on_ids_and_seed_and_neither_on_order_nor_on_texts() -> None:
    rows = many(60)
    ids = {one.id for one in draw(rows, 20, seed=1)}
    assert {one.id for one in draw(rows[::-1], 20, seed=1)} == ids
    renamed = [one.model_copy(update={"text": "x"}) for one in rows]
    assert {one.id for one in draw(renamed, 20, seed=1)} == ids
    assert {one.id for one in draw(rows, 20, seed=2)} != ids
