"""The rows that the shipped adapters learn from: harmless texts of many languages, and padded rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from shipped_adapter import harmless, padding
from shipped_adapter.rows import LICENCES, add_padded
from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled
from support.labelled import read_lines, row, sentence, write_lines

if TYPE_CHECKING:
    from pathlib import Path


def test_the_harmless_rows_are_in_order_and_in_over_forty_languages_under_named_licences() -> None:
    found = read_labelled([harmless.OUT])
    assert (found.faulty_rows, found.repeated_rows) == (0, 0)
    assert {one.severity for one in found.rows} == {"safe"}
    assert {one.licence for one in found.rows} <= set(LICENCES.split(","))
    languages = {one.language for one in found.rows}
    assert len(languages - harmless.MEASURED) >= 40
    assert {one.language for one in found.rows if one.split == "dev"} == harmless.MEASURED <= languages


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("turn on the lights", "turn on the lights"),
        ("<turn> the lamp", "switch the lamp"),
        ("set it to {temperature} degrees", "set it to * degrees"),
        ("call {name}", None),
        ("(a;b) lights", None),
        ("<nowhere> lights", None),
    ],
)
def test_a_template_becomes_a_sentence_unless_it_needs_a_name(template: str, said: str | None) -> None:
    found = harmless.expanded(template, {"turn": "(switch|switch)"}, "en")
    assert (found and " ".join("*" if one.isdecimal() else one for one in found.split())) == said


def rows_to_pad(count: int = 120) -> list[dict[str, Any]]:
    languages, severities = ("en", "de", "fr"), ("safe", "unsafe")
    return [
        row(
            id=f"r{at}",
            text=sentence(at),
            kind="post",
            language=languages[at % 3],
            severity=severities[at // 3 % 2],
            categories=["Violent"] if at // 3 % 2 else [],
            source="s",
            licence="MIT",
            split="train",
        )
        for at in range(count)
    ]


def test_as_many_harmless_rows_are_padded_as_harmful_ones_in_each_of_ten_ways() -> None:
    made = padding.padded(rows_to_pad(), each=4)
    counts = Counter((one["source_labels"]["way"], one["severity"]) for one in made)
    assert len(padding.WAYS) == 10
    assert set(counts.values()) == {4}
    assert len(counts) == 20
    assert len({one["id"] for one in made}) == len(made)


def test_a_padded_row_keeps_its_core_s_words_label_and_licence() -> None:
    cores = {one["id"]: one for one in rows_to_pad()}
    for one in padding.padded(list(cores.values()), each=4):
        core = cores[one["source_labels"]["core"]]
        words = one["text"].split()
        assert set(core["text"].split()) <= set(words)
        assert len(words) > len(core["text"].split())
        for field in ("severity", "categories", "language", "licence"):
            assert one[field] == core[field]
        assert one["label_basis"].endswith("; padded")
        others = [cores[name] for name in one["source_labels"]["with"]]
        assert all(other["severity"] == "safe" for other in others)


def test_padding_again_replaces_what_was_padded(tmp_path: Path) -> None:
    train = write_lines(tmp_path / "train.jsonl", rows_to_pad())
    assert add_padded(train, each=2) == 40
    once = train.read_bytes()
    assert add_padded(train, each=2) == 40
    assert train.read_bytes() == once
    assert len(read_lines(train)) == 160
    assert all(orjson.loads(line) for line in once.splitlines())
