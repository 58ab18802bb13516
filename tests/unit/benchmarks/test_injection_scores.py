"""The report's arithmetic, and the page against the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.shares import quantile
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Scores
from studies.injection_scores import study as scores
from support.attacks import CASES, FORMS, LANGUAGES

ROOT = Path(__file__).resolve().parents[3]
REPORT = ROOT / "benchmarks" / "reports" / "injection-scores"


def unsafe(value: float) -> Scores:
    return Scores(safe=1 - value, controversial=0, unsafe=value)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([5.0], 0.9, 5.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        (list(map(float, range(1, 11))), 0.9, 9.0),
        (list(map(float, range(1, 12))), 0.9, 10.0),
        ([1.0, 2.0], 0.0, 1.0),
        ([1.0, 2.0], 1.0, 2.0),
    ],
)
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(
    values: list[float], share: float, expected: float
) -> None:
    assert quantile(values, share) == expected


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_row_tells_distances_directions_and_changed_actions() -> None:
    moves = [
        scores.Move("en", "plea", 0.5, 0.1, "review", "allow"),
        scores.Move("en", "plea", 0.5, 0.9, "review", "block"),
        scores.Move("de", "plea", 0.5, 0.4, "review", "review"),
    ]
    row = scores.summed_up("x", moves)
    assert (row.cases, row.median, row.p90, row.largest) == (3, 0.4, 0.4, 0.4)
    assert (row.downwards, row.flips, row.milder) == (0.667, 2, 1)
    assert [(one.name, one.cases) for one in scores.rows_by(moves, lambda move: move.language)] == [
        ("en", 2),
        ("de", 1),
    ]


def test_each_attack_stands_beside_its_base_and_the_plea_beside_a_harmless_sentence() -> None:
    known = {text: unsafe(0.5) for text in scores.texts()}
    known |= {one.harmless: unsafe(0.1) for one in LANGUAGES.values()}
    known |= {one.plea: unsafe(0.6) for one in LANGUAGES.values()}
    moves = scores.moves_of(known, Policy.load(None))
    assert len(moves) == len(CASES) == len(LANGUAGES) * len(FORMS)
    pleas = [move for move in moves if move.technique == "plea"]
    assert {(move.base_unsafe, move.unsafe) for move in pleas} == {(0.1, 0.6)}
    assert {(move.base_action, move.action) for move in pleas} == {("allow", "review")}
    others = [move for move in moves if move.technique != "plea"]
    assert {(move.base_unsafe, move.unsafe) for move in others} == {(0.6, 0.5)}
    del known[CASES["ja: thoughts"]]
    left = scores.moves_of(known, Policy.load(None))
    assert [move for move in moves if move not in left] == [
        scores.Move("ja", "thoughts", 0.6, 0.5, "review", "review")
    ]
    assert scores.report_of(left, model="m", engine_digest="d")["left_out"] == 1


def test_the_page_is_made_of_the_report() -> None:
    report = json.loads(REPORT.with_suffix(".json").read_text(encoding="utf-8"))
    assert REPORT.with_suffix(".md").read_text(encoding="utf-8") == scores.markdown(report)
    moves = [scores.Move(**move) for move in report["moves"]]
    assert len(moves) == len(CASES) - report["left_out"] >= 300
    again = scores.report_of(moves, model=report["model"], engine_digest=report["engine_digest"])
    assert json.loads(json.dumps(again)) == report
