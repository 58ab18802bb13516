"""The arithmetic of the report on disguised copies, and a run on a stream of ten posts."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from shared.judging import sample
from shared.shares import wilson
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.text.segmenter import Part, Parts
from sluicegate.schemas import Action, FailureCode
from studies.evasion import report as evasion_report
from studies.evasion import study as evasion

if TYPE_CHECKING:
    from pathlib import Path

ALLOW, REVIEW, BLOCK = Action.ALLOW, Action.REVIEW, Action.BLOCK


def test_wilsons_interval_is_the_published_one_and_holds_the_share() -> None:
    # Newcombe (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert list(wilson(hits, of)) == pytest.approx([low, high], abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(7, 7)[1] == 1.0


def test_each_variant_and_all_of_them_are_counted() -> None:
    pairs = [
        evasion_report.Pair("leet", BLOCK, ALLOW),  # differs and slipped
        evasion_report.Pair("leet", BLOCK, REVIEW),  # differs
        evasion_report.Pair("leet", ALLOW, BLOCK),  # differs; the original was allowed
        evasion_report.Pair("emoji", REVIEW, REVIEW),
        evasion_report.Pair("emoji", ALLOW, ALLOW),
    ]
    lines = {line.variant: line for line in evasion_report.lines(pairs)}
    assert list(lines) == ["leet", "emoji", "all"]
    told = {
        name: (one.differ.hits, one.differ.of, one.slipped.hits, one.slipped.of)
        for name, one in lines.items()
    }
    assert told == {"leet": (3, 3, 1, 2), "emoji": (0, 2, 0, 1), "all": (3, 5, 1, 3)}


def test_the_cost_counts_each_distinct_prompt_once_and_no_folded_one_that_another_post_asks_for() -> None:
    prompt = Prompt((1,), "post", 0, (0, 1))
    plain = Parts((Part(prompt, 0, 1),))
    folded = Parts((Part(prompt, 0, 1), Part(prompt, 0, 1, folded=True)), rules=("leet",))
    keyed: list[tuple[Parts | ItemFailure, list[str], list[str]]] = [
        (plain, ["a"], ["a"]),
        (plain, ["a"], ["a"]),
        (plain, ["b"], ["b"]),
        (folded, ["c", "b"], ["c"]),  # its folded form is another post
        (folded, ["d", "e"], ["d"]),
        (folded, ["f", "e"], ["f"]),
        (ItemFailure(FailureCode.TOO_LONG), [], []),
    ]
    assert evasion_report.cost(keyed) == {
        "folded_posts": 3,
        "prompts": 5,
        "extra_prompts": 1,
        "extra_percent": 20.0,
    }
    one_form = Parts((Part(prompt, 0, 1, folded=True),), rules=("invisible",))
    seen = [*keyed, (one_form, ["a"], ["g"])]  # what nobody sees of it is not read: one form
    assert evasion_report.cost(seen)["folded_posts"] == 3
    alone = [*keyed, (folded, ["a"], ["g"])]  # it looks like another post, and is asked about as that one
    assert evasion_report.cost(alone)["extra_prompts"] == 0
    assert evasion_report.cost([])["extra_percent"] == 0.0


def test_a_sample_is_the_same_each_time_and_in_order() -> None:
    rows = list(range(100))
    once = sample(rows, 10)
    assert once == sample(rows, 10) == sorted(once)
    assert len(once) == 10
    assert sample(rows, None) == sample(rows, 100) == rows


def line(number: int, text: str, **fields: Any) -> str:
    return json.dumps(
        {"id": f"p{number}", "text": text, "language": "en", "label": {"severity": "safe"}} | fields
    )


def test_a_stream_is_judged_reported_and_on_the_second_run_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = tmp_path / "stream.jsonl"
    rows = [
        line(1, "I will kill you", label={"severity": "unsafe"}),
        line(2, "I will k1ll you", variant="leet", variant_of="p1"),
        line(3, "I will kill you", variant="duplicate", variant_of="p1"),
        line(4, "I w\u200bill kill you", variant="zero_width", variant_of="p1"),
        line(5, "sooooo good"),
    ]
    stream.write_text("\n".join(rows), encoding="utf-8")
    command = [
        "evasion",
        "--data",
        str(stream),
        "--engine",
        "fake",
        "--work",
        str(tmp_path / "w"),
        "--out",
        str(tmp_path),
    ]
    monkeypatch.setattr(sys, "argv", command)
    evasion.main()
    first = json.loads((tmp_path / "evasion.json").read_text())
    assert (first["posts"], first["copies"], first["failed_prompts"]) == (5, 2, 0)
    assert first["cost"] == {"folded_posts": 2, "prompts": 4, "extra_prompts": 0, "extra_percent": 0.0}
    assert first["cost_undisguised"]["extra_prompts"] == 1
    assert [one["variant"] for one in first["with"]] == ["leet", "zero_width", "all"]
    # One that looks the same is asked about once; what is drawn out is asked about twice.
    # Folded, both copies ask what their original asks; it is at least as severe.
    assert first["with"][-1]["slipped"]["hits"] == 0
    assert (tmp_path / "evasion.md").read_text(encoding="utf-8") == evasion_report.page(first)
    assert "5 of 5 prompts" in capsys.readouterr().err
    (store,) = (tmp_path / "w").iterdir()
    store.write_text(store.read_text() + '{"key": "cut of')  # killed while it wrote
    evasion.main()
    assert "prompts" not in capsys.readouterr().err
    second = json.loads((tmp_path / "evasion.json").read_text())
    assert second | {"fold_microseconds_per_post": 0} == first | {"fold_microseconds_per_post": 0}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "give the stream with --data"),
        ("{}", "stream.jsonl:1: is no labelled post"),
        ("{", "stream.jsonl:1"),
    ],
)
def test_a_missing_or_strange_stream_is_told_in_one_sentence(
    tmp_path: Path, content: str | None, told: str
) -> None:
    path = tmp_path / "stream.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match=told):
        evasion.read(path)
