"""A whole preparation: what is written, what the card says of it, and that nothing half-done is left."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.engines.adapt.data import card
from sluicegate.engines.adapt.data.decisions import Choices, RowDecision
from sluicegate.engines.adapt.data.prepare import Lengths, Preparation, Request
from sluicegate.engines.adapt.errors import PrepareError
from support.labelled import read_lines, row, sentence, write_lines
from support.small_bundle import write_small_bundle

if TYPE_CHECKING:
    from pathlib import Path


def run(out: Path, *files: Path, lengths: Lengths | None = None, **options: Any) -> dict[str, Any]:
    """Prepare, and give the card."""
    preparation = Preparation(Request(files=files, **options))
    preparation.read()
    preparation.decide()
    written = preparation.write(out, lengths=lengths)
    return card.document(preparation, written, ["sluicegate", "adapt", "prepare"], lengths)


def documents(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        row(
            text=f"{sentence(number)} {sentence(number + 700)}",
            language="en",
            licence="MIT",
            **({"severity": "unsafe", "categories": ["PII"]} if number % 3 == 0 else {}),
        )
        for number in range(start, start + count)
    ]


def test_what_is_kept_is_written_with_its_split_and_its_hash(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", documents(60))
    found = run(tmp_path / "out", file)
    train, dev = (read_lines(tmp_path / "out" / f"{split}.jsonl") for split in ("train", "dev"))
    assert (len(train), len(dev)) == (54, 6)
    assert {one["split"] for one in train} == {"train"}
    assert Counter(one["severity"] for one in dev) == {"safe": 4, "unsafe": 2}
    assert [one["id"] for one in train] == sorted((one["id"] for one in train), key=lambda x: int(x[2:]))
    assert found["fates"]["train"] == 54
    for one in found["outputs"]:
        raw = (tmp_path / "out" / one["file"]).read_bytes()
        assert (one["sha256"], one["bytes"]) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert found["inputs"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dev.jsonl", "train.jsonl"]


def test_the_same_request_writes_the_same_bytes_and_what_it_wrote_is_kept_whole(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", documents(40))
    first, second = run(tmp_path / "one", file), run(tmp_path / "two", file)
    assert first == second
    again = run(tmp_path / "three", tmp_path / "one" / "train.jsonl", tmp_path / "one" / "dev.jsonl")
    assert [one["sha256"] for one in again["outputs"]] == [one["sha256"] for one in first["outputs"]]


@given(numbers=st.lists(st.integers(0, 12), min_size=1, max_size=25), data=st.data())
@settings(max_examples=25)
def test_the_order_of_rows_and_files_moves_no_text_to_another_side_and_the_counts_add_up(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("order")
    pool = documents(12)
    given_rows = [pool[number] if number < 12 else {"text": "no label"} for number in numbers]
    cut = data.draw(st.integers(0, len(numbers)))
    shuffled = data.draw(st.permutations(given_rows))

    def written(name: str, *parts: list[dict[str, Any]]) -> dict[str, set[str]]:
        files = [write_lines(folder / name / f"{at}.jsonl", part) for at, part in enumerate(parts)]
        try:
            found = run(folder / f"{name}-out", *files, choices=Choices(dev_share=0.5))
        except PrepareError:
            assert all(number == 12 for number in numbers)
            return {}
        faulty = sum(one["faulty_rows"] for one in found["inputs"])
        assert sum(found["fates"].values()) + faulty == len(numbers)
        outputs = {one["file"]: one["rows"] for one in found["outputs"]}
        kept = found["fates"]["train"] + found["fates"]["dev"]
        assert outputs["train.jsonl"] + outputs["dev.jsonl"] == kept
        assert outputs.get("left-out.jsonl", 0) == sum(found["fates"].values()) - kept
        return {
            split: {one["text"] for one in read_lines(folder / f"{name}-out" / f"{split}.jsonl")}
            for split in ("train", "dev")
        }

    assert written("as-given", given_rows) == written("shuffled", shuffled[:cut], shuffled[cut:])


def test_faulty_rows_are_left_out_named_and_counted(tmp_path: Path) -> None:
    bad: list[dict[str, Any]] = [{"text": "x", "severity": "terrible secret"}, row(kind="k", language="!")]
    file = write_lines(tmp_path / "in" / "a.jsonl", [*documents(5), *bad, *documents(5, 5)])
    found = run(tmp_path / "out", file)
    assert found["inputs"][0] | {"sha256": "", "bytes": 0} == {
        "file": str(file),
        "sha256": "",
        "bytes": 0,
        "rows": 10,
        "faulty_rows": 2,
        "rows_under_other_licences": 0,
    }
    assert found["faults"] == {
        "count": 4,
        "first": [
            f"{file}:6: severity: none of the known values; write safe, controversial or unsafe",
            f"{file}:6: categories: missing; write up to 16 names of categories; [] where none is known, or none applies",
            f"{file}:7: kind: none of the known values; write post, prompt or response",
            f"{file}:7: language: in another shape; write a tag such as en or zh-Hant, or leave it out",
        ],
    }
    assert "more than a tenth" in found["warnings"][0]
    assert "terrible" not in json.dumps(found) + card.page(found)


def test_no_row_left_is_a_fault_that_says_why(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", [{"text": "x"}])
    with pytest.raises(PrepareError, match="see what is wrong with the rows"):
        run(tmp_path / "out", file)
    file = write_lines(tmp_path / "in" / "b.jsonl", documents(1))
    with pytest.raises(PrepareError, match="their licences are others"):
        run(tmp_path / "out", file, licences=("Apache-2.0",))
    assert not (tmp_path / "out").exists()


def test_only_rows_under_a_wanted_licence_are_taken_and_the_others_are_counted_by_theirs(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "in"
    files = [
        write_lines(folder / f"{name}.jsonl", [row(text=f"{name}: {sentence(at)}") for at in range(count)])
        for name, count in (("free", 5), ("shared", 3), ("unnamed", 2))
    ]
    (folder / "manifest.json").write_text(
        json.dumps(
            {
                "sources": {
                    "free": {"licence": "MIT (they say)", "repo": "a/b", "commit": "c0ffee"},
                    "shared": {"licence": "CC-BY-SA-4.0"},
                },
                "files": [{"file": "free.jsonl", "sha256": "0" * 64}],
            }
        )
    )
    found = run(tmp_path / "out", *files, licences=("MIT",))
    assert found["rows_left_out_by_licence"] == {"CC-BY-SA-4.0": 3, "none named": 2}
    assert list(found["balance"]["licence"]) == ["MIT"]
    assert found["sources"] == [
        {"source": "free", "licence": "MIT (they say)", "repo": "a/b", "commit": "c0ffee"}
    ]
    assert {one["licence"] for one in read_lines(tmp_path / "out" / "train.jsonl")} == {"MIT (they say)"}
    assert any("not what its manifest promises" in one for one in found["warnings"])
    assert any("licence is not certain" in one for one in found["warnings"])


def test_conflicts_are_listed_by_place_without_a_text(tmp_path: Path) -> None:
    text = "The committee met on Tuesday evening and agreed to plant forty trees along the river"
    given_rows = [
        row(text=text, id="a"),
        row(text=text.upper(), id="b", severity="unsafe", categories=[]),
        row(text="One two three four five six seven eight nine ten eleven twelve"),
        row(
            text="One two three four five six seven eight nine ten eleven twenty",
            severity="unsafe",
            categories=[],
        ),
    ]
    file = write_lines(tmp_path / "in" / "a.jsonl", given_rows)
    found = run(tmp_path / "out", file)
    same, near = read_lines(tmp_path / "out" / "conflicts.jsonl")
    assert same == {
        "conflict": "same text",
        "rows": [
            {"file": str(file), "line": 1, "id": "a", "severity": "safe", "fate": "conflict"},
            {"file": str(file), "line": 2, "id": "b", "severity": "unsafe", "fate": "conflict"},
        ],
    }
    assert (near["conflict"], [one["line"] for one in near["rows"]]) == ("near duplicates", [3, 4])
    assert (found["conflicts"]["same_text"], found["conflicts"]["near_duplicates"]) == (1, 1)
    assert "committee" not in (tmp_path / "out" / "conflicts.jsonl").read_text().casefold()
    assert [(one["id"], one["fate"]) for one in read_lines(tmp_path / "out" / "left-out.jsonl")] == [
        ("a", "conflict"),
        ("b", "conflict"),
    ]


def test_masked_data_hold_no_personal_data_in_any_field(tmp_path: Path) -> None:
    mail = "jane.doe@mail.example.org"
    given_rows = [
        row(text=f"write to {mail}", kind="response", context=f"where? {mail}", reason=f"gives {mail}"),
        row(text="ring +44 20 7946 0958", context=[{"role": "user", "text": f"from {mail}"}]),
        row(text="ring +44 20 7946 0123", context=[{"role": "user", "text": f"from {mail}"}]),
        *documents(4),
    ]
    file = write_lines(tmp_path / "in" / "a.jsonl", given_rows)
    plain, found = run(tmp_path / "plain", file), run(tmp_path / "masked", file, mask_pii=True)
    assert plain["personal_data"] | {"masked": True} == found["personal_data"]
    assert found["personal_data"] == {"masked": True, "rows": 3, "places": {"email": 5, "phone": 2}}
    assert any("--mask-pii" in one for one in plain["warnings"])
    written = (tmp_path / "masked" / "train.jsonl").read_text()
    assert mail not in written
    assert "7946" not in written
    assert found["fates"]["duplicate"] == 1  # two texts that differed in the number alone
    (first,) = [one for one in read_lines(tmp_path / "masked" / "train.jsonl") if one["kind"] == "response"]
    assert (first["context"], first["reason"]) == (
        "where? xxxx.xxx@xxxx.xxxxxxx.xxx",
        "gives xxxx.xxx@xxxx.xxxxxxx.xxx",
    )


def test_rows_longer_than_an_engine_takes_are_counted(tmp_path: Path) -> None:
    lengths = Lengths(write_small_bundle(tmp_path / "bundle"))
    long = " ".join(sentence(number) for number in range(lengths.max_prompt_tokens // 20))
    file = write_lines(tmp_path / "in" / "a.jsonl", [*documents(5), row(text=long)])
    found = run(tmp_path / "out", file, lengths=lengths)
    assert found["compared_with_engine"] == {
        "bundle": lengths.digest,
        "max_prompt_tokens": lengths.max_prompt_tokens,
    }
    assert any(one.startswith("1 rows are longer than the engine takes") for one in found["warnings"])
    assert run(tmp_path / "other", file)["compared_with_engine"] is None


def test_results_are_replaced_only_if_that_is_wanted_and_never_where_data_are_read(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", documents(3))
    run(tmp_path / "out", file)
    for name in ("conflicts.jsonl", "data-card.md"):
        (tmp_path / "out" / name).write_text("of another run")
    with pytest.raises(PrepareError, match="--overwrite"):
        run(tmp_path / "out", file)
    with pytest.raises(PrepareError, match="is read from"):
        run(tmp_path / "in", file)
    preparation = Preparation(Request(files=(file,)))
    preparation.read()
    preparation.decide()
    preparation.write(tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dev.jsonl", "train.jsonl"]


@pytest.mark.parametrize("change", ["longer", "shorter", "other"])
def test_a_file_that_changes_meanwhile_leaves_nothing_behind(tmp_path: Path, change: str) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", documents(6))
    preparation = Preparation(Request(files=(file,)))
    preparation.read()
    preparation.decide()
    changed = {"longer": documents(7), "shorter": documents(5), "other": documents(6, 1)}
    write_lines(file, changed[change])
    with pytest.raises(PrepareError, match="changed while it was read"):
        preparation.write(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", documents(3))
    with pytest.raises(PrepareError, match="cannot be written to"):
        run(file / "out", file)


def test_progress_reaches_the_whole_of_both_passes(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", documents(3))
    told: list[tuple[str, int, int]] = []
    preparation = Preparation(Request(files=(file,)), lambda *news: told.append(news))
    preparation.read()
    preparation.decide()
    preparation.write(tmp_path / "out")
    size = file.stat().st_size
    assert ("reading", size, size) in told
    assert told[-1] == ("writing", size, size)


def test_the_page_says_what_the_document_says_and_no_name_leaves_its_cell(tmp_path: Path) -> None:
    given_rows = [row(text=sentence(at), source="a | b <i> `c`", tenant="bank") for at in range(4)]
    file = write_lines(tmp_path / "in" / "a.jsonl", given_rows)
    found = run(tmp_path / "out", file)
    page = card.page(found)
    assert "| a \\| b &lt;i> 'c' | 4 | 4 | 0 | 4 | 0 | 0 |" in page
    assert "| bank | 4 |" in page
    assert "| region |" not in page
    for decision in RowDecision:
        assert f"| {decision.value} | {found['fates'][decision.value]:,} |" in page
    for one in (*found["inputs"], *found["outputs"]):
        assert one["sha256"] in page
    for warning in found["warnings"]:
        assert warning.split("`")[0][:40].replace("|", "\\|") in page
    for line in page.splitlines():
        assert line.isprintable()
