"""The arithmetic of the report on near duplicates, the rules it compares, floods, and a run on a small stream."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action
from studies.near_duplicates import study as near_duplicates
from studies.near_duplicates.floods import ADMITTED, MUTATIONS, flood
from studies.near_duplicates.report import Labelled, _default_page, most_harm, replay, stands_in
from studies.near_duplicates.rules import RULES, SameForm, Shipped, is_harmless_difference

if TYPE_CHECKING:
    from pathlib import Path

ALLOW, BLOCK = Action.ALLOW, Action.BLOCK


def one(name: str, text: str, action: Action = ALLOW, group: str = "en") -> Labelled:
    return Labelled(name, text, group, action)


def test_what_is_reused_is_counted_once_and_harm_where_actions_differ() -> None:
    stream = [
        one("a", "Hello"),
        one("b", "Hello"),  # an exact copy is no reuse
        one("c", "HELLO"),
        one("d", "hello", BLOCK),
        one("e", "hello", group="de"),
        one("f", "HELLO", group="de"),
        one("g", "other", BLOCK),
    ]
    told = [
        (reuse.id, reuse.source, reuse.harmful) for reuse in replay(SameForm("any", str.casefold), stream)
    ]
    assert told == [("c", "a", False), ("d", "a", True), ("f", "e", False)]


def test_a_text_that_no_engine_reads_in_its_reduced_form_stands_for_none() -> None:
    plain, long = "The library opens at nine tomorrow!!!!!", "The library opens at nine tomorrow!!!!!!!"
    assert [reuse.id for reuse in replay(Shipped(), [one("a", long), one("b", plain)])] == []
    assert [reuse.id for reuse in replay(Shipped(), [one("a", plain), one("b", long)])] == ["b"]


def test_a_rule_that_finds_nothing_reuses_nothing() -> None:
    assert replay(SameForm("none", lambda _text: None), [one("a", "x"), one("b", "x", BLOCK)]) == []


def test_a_pair_is_asked_for_in_both_orders_by_a_new_rule_each_time() -> None:
    made = []

    def make() -> SameForm:
        made.append(SameForm("any", str.casefold))
        return made[-1]

    assert not stands_in(make, one("a", "x"), one("b", "y"))
    assert stands_in(make, one("a", "x"), one("b", "X"))
    assert len(made) == 3


@pytest.mark.parametrize(
    ("first", "second", "harmless"),
    [
        ("come to our shop today", "come to our shop really today", True),
        ("come to our shop today", "do not come to our shop today", False),
        ("今天来我们店", "今天别来我们店", False),
        ("pay 5 coins", "pay 6 coins", False),
        ("come with Anna", "come with Emma", False),
    ],
)
def test_the_guard_of_the_generous_rules_sees_what_it_is_told_to(
    first: str, second: str, *, harmless: bool
) -> None:
    assert is_harmless_difference(first, second) is harmless


def test_every_rule_finds_the_copy_with_an_invisible_character_and_each_after_it_finds_more() -> None:
    text, near = "The library opens at nine tomorrow morning", "The library opens at nine, tomorrow morning"
    assert len({make().name for make in RULES}) == len(RULES)
    for make in RULES:
        assert stands_in(make, one("a", text), one("b", text.replace("b", "b\u200b")))
        name = make().name
        generous = name.startswith("MinHash") or name == "letters and digits alone"
        assert stands_in(make, one("a", text), one("b", near)) is generous


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_a_flood_of_what_the_rule_admits_costs_a_hundredth(mutation: str) -> None:
    cost = await flood(mutation, 200)
    assert cost.distinct > 10
    if mutation in [*MUTATIONS][:ADMITTED]:
        assert cost.share <= 0.01
        assert cost.reused >= cost.distinct - 1
    else:
        assert cost.share > 0.5


def test_a_stream_is_measured_judged_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def row(number: int, text: str, severity: str = "safe", **fields: Any) -> str:
        return json.dumps({"id": f"p{number}", "text": text, "label": {"severity": severity}} | fields)

    text = "The library opens at nine tomorrow morning!!!!!"
    stream = tmp_path / "stream.jsonl"
    lines = [row(1, text), row(2, f"{text}!!!"), row(3, f"{text}?", "unsafe"), row(4, text)]
    stream.write_text("\n".join(lines), encoding="utf-8")
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    sides = {
        "first": "Hello to all you",
        "first_label": "safe",
        "second": "Hello to all, you",
        "second_label": "unsafe",
    }
    (pairs / "en.jsonl").write_text(
        json.dumps(sides | {"language": "en", "change": "comma"}), encoding="utf-8"
    )
    command = [
        "x",
        "--data",
        str(stream),
        "--pairs",
        str(pairs),
        "--engine",
        "fake",
        "--every-rule",
        "--copies",
        "20",
    ]
    monkeypatch.setattr(
        sys, "argv", [*command, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    )
    near_duplicates.main()
    report = json.loads((tmp_path / "out" / "near-duplicates.json").read_text(encoding="utf-8"))
    told = {line["rule"]: line for line in report["rules"]}
    shipped, bare = told["reduced form (shipped)"], told["letters and digits alone"]
    assert (shipped["reused"], shipped["pairs"]["hits"]) == ({"hits": 0, "of": 1}, 0)
    assert shipped["saved"] == pytest.approx(1 / 3)
    assert (bare["reused"], bare["by_change"]) == ({"hits": 1, "of": 2}, {"comma": 1})
    assert [line["judged"] for line in report["engine"]["rules"]][:2] == [1, 1]
    assert len(report["floods"]) == len(MUTATIONS)
    page = (tmp_path / "out" / "near-duplicates.md").read_text(encoding="utf-8")
    assert page.strip() == capsys.readouterr().out.strip()
    assert "| comma (1) |" in page


def test_the_default_follows_from_the_widest_interval_and_needs_an_engine() -> None:
    def report(of: int, engine: dict[str, Any] | None) -> dict[str, Any]:
        counted = {"hits": 0, "of": of}
        return {"rules": [{"reused": counted, "pairs": counted}], "engine": engine}

    engine = {"rules": [{"harm": {"hits": 0, "of": 34}}]}
    assert max(most_harm(report(5000, engine)).values()) == pytest.approx(0.1015, abs=1e-4)
    assert "it stays off" in _default_page(report(5000, engine))
    assert "it stays off" in _default_page(report(5000, None))
    engine["rules"][0]["harm"]["of"] = 5000
    assert "this is shown" in _default_page(report(5000, engine))


def test_a_line_that_is_no_pair_is_named(tmp_path: Path) -> None:
    (tmp_path / "en.jsonl").write_text('{"first": "a"}', encoding="utf-8")
    with pytest.raises(SystemExit, match=r"en\.jsonl:1: is no pair"):
        near_duplicates.read_pairs(tmp_path, Policy.load(None))
