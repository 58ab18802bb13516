"""The controlled test of the region hint: what is asked, and what is made of the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.schemas import Scores
from studies.region_hint import study as region_hint
from support.labelled import row, rows_of, sentence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def scores(safe: float) -> Scores:
    return Scores(safe=safe, controversial=0.0, unsafe=1 - safe)


def judged(change: Callable[[int], float], count: int = 20, groups: int = 99) -> region_hint.Moved | None:
    """Harmful rows that a region makes riskier by so much each."""
    rows = rows_of(row(text=sentence(at), severity="unsafe", group=f"g{at % groups}") for at in range(count))
    found = {}
    for at, one in enumerate(rows):
        found[one.id, "none"] = scores(0.6)
        found[one.id, "US"] = scores(0.6 - change(at))
    moved: region_hint.Moved | None = region_hint.moved(rows, found, "US", seed=0)
    return moved


def test_each_text_is_asked_without_a_region_twice_and_with_each() -> None:
    rows = rows_of([row(text="One."), row(text="Two.")])
    asked = list(region_hint.conditions_of_texts(rows))
    assert [region for one, _, region in asked if one.id == "r0"] == [None, None, "US", "CN", "DE"]
    assert len({(one.id, condition) for one, condition, _ in asked}) == len(asked) == 10


def test_a_row_is_asked_with_its_own_region_and_with_another() -> None:
    rows = rows_of([row(text="One.", region="DE"), row(text="Two.", region="MX")])
    asked = [(condition, region) for _, condition, region in region_hint.conditions_of_pairs(rows)]
    assert asked == [
        *[("none", None), ("own", "DE"), ("foreign", "CN")],
        *[("none", None), ("own", "MX"), ("foreign", "DE")],
    ]


def test_what_moves_is_measured_against_the_same_text_without_a_region() -> None:
    found = judged(lambda at: 0.2 if at < 5 else 0.0)
    assert found is not None
    assert (found.texts, found.flips) == (20, 5)
    assert found.mean == pytest.approx(0.05)
    assert found.largest == pytest.approx(0.2)
    assert found.towards[0] == pytest.approx(0.05)


def test_a_direction_is_told_only_where_the_interval_allows_it() -> None:
    towards, away = judged(lambda _: 0.1), judged(lambda _: -0.1)
    either = judged(lambda at: 0.1 if at % 2 else -0.1)
    assert towards is not None
    assert away is not None
    assert either is not None
    assert (towards.direction, away.direction) == ("towards the label", "away from the label")
    assert either.direction == "cannot be told"
    few = judged(lambda _: 0.1, count=19)
    assert few is not None
    assert few.direction == "too few texts"
    grouped = judged(lambda _: 0.1, count=40, groups=19)
    assert grouped is not None
    assert grouped.direction == "too few texts"


def test_texts_of_one_group_are_drawn_together() -> None:
    def change(at: int) -> float:
        return 0.1 if at % 25 < 16 else -0.1

    alone, grouped = judged(change, count=100), judged(change, count=100, groups=25)
    assert alone is not None
    assert grouped is not None
    assert alone.direction == "towards the label"
    assert grouped.direction == "cannot be told"


def test_a_text_that_failed_in_one_condition_is_in_no_line() -> None:
    rows = rows_of([row(text="One."), row(text="Two.")])
    found = {("r0", "none"): scores(0.5), ("r0", "US"): scores(0.5), ("r1", "none"): scores(0.5)}
    line = region_hint.moved(rows, found, "US", seed=0)
    assert line is not None
    assert line.texts == 1
    assert region_hint.moved(rows, found, "CN", seed=0) is None


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[EngineChoice]]:
    choices: list[EngineChoice] = []

    def opened(choice: EngineChoice) -> Any:
        choices.append(choice)
        return open_backend(EngineChoice(backend="fake"))

    monkeypatch.setattr(region_hint, "open_backend", opened)
    return region_hint.main([*arguments, "--out", str(folder)]), choices


def test_it_runs_from_end_to_end_and_an_engine_that_knows_no_region_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = run(tmp_path, monkeypatch, "--base")
    assert code == 0
    document = json.loads((tmp_path / "region-hint.json").read_text())
    assert 250 < document["prompts"] <= 300
    assert document["failed"] == 0
    (again, *_) = document["texts"]
    assert (again["condition"], again["mean"], again["flips"]) == ("none, again", 0.0, 0)
    assert [one["condition"] for one in document["pairs"]] == ["own", "foreign"]
    page = (tmp_path / "region-hint.md").read_text()
    assert page in capsys.readouterr().out
    assert str(tmp_path) not in page + json.dumps(document)


def test_it_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, "--texts", "60")[0] == 1
    assert "prompts are more than 300; give smaller --texts or --pairs" in capsys.readouterr().err
