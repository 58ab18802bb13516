"""The evaluation's arithmetic, and the page that tells it."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.evaluate import report
from sluicegate.engines.adapt.evaluate.evaluation import evaluation, roc
from sluicegate.engines.adapt.evaluate.measures import MEASURES, MeasuredRows
from sluicegate.engines.adapt.evaluate.report import SAID, page, shown
from sluicegate.engines.adapt.report import plain, table
from support.scored import drawn, scored, sure, weights_of

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

JUDGED: dict[str, Any] = {"engine": {"backend": "fake"}, "files": [], "sample": None}


def mixed() -> list[ScoredRow]:
    harmful: dict[str, Any] = {"categories": ("Violent",), "well_formed": True}
    return [
        scored("a", "safe", sure("safe"), source="plain", group="g"),
        scored("b", "safe", sure("unsafe"), source="benign_lookalikes", group="g"),
        scored("c", "safe", None, language="de", source="plain", label_basis="look-alike"),
        scored("d", "unsafe", sure("unsafe"), **harmful, found_categories=("Violent", "PII")),
        scored(
            "e",
            "unsafe",
            sure("controversial"),
            **harmful,
            found_categories=("PII",),
        ),
        scored("f", "controversial", sure("safe"), **harmful, found_categories=()),
        scored("g", "unsafe", sure("unsafe"), categories=(), well_formed=True, found_categories=("PII",)),
        scored("h", "unsafe", sure("unsafe"), well_formed=False, explanation_failure="unparsable"),
        scored("i", "unsafe", sure("unsafe"), explanation_failure="timed_out"),
        scored(
            "j", "safe", sure("safe"), kind="response", refusal=True, well_formed=True, found_refusal=False
        ),
    ]


def told(rows: list[ScoredRow]) -> dict[str, Any]:
    return {**evaluation(rows, seed=0), "judged": JUDGED}


def test_every_row_is_counted_once_in_each_table() -> None:
    document = told(mixed())
    assert document["rows"] == 10
    assert document["failed"] == {"timed_out": 1}
    severities = document["severities"]
    assert sum(sum(line.values()) for line in severities.values()) == 10
    assert severities["safe"] == {"safe": 2, "controversial": 0, "unsafe": 1, "failed": 1}
    assert severities["unsafe"] == {"safe": 0, "controversial": 1, "unsafe": 4, "failed": 0}
    for name in ("language", "source", "kind"):
        assert sum(group["rows"] for group in document["by"][name].values()) == 10
    assert document["by"]["language"]["de"] == {
        "rows": 1, "safe": 1, "controversial": 0, "unsafe": 0, "failed": 1, "measures": {}
    }  # fmt: skip


def test_a_failed_row_is_neither_right_nor_wrong() -> None:
    document = told(mixed())
    assert document["measures"]["accuracy"]["value"] == pytest.approx(6 / 9, abs=1e-5)
    assert document["measures"]["false_positives"]["value"] == pytest.approx(1 / 3, abs=1e-5)


def test_look_alikes_are_measured_apart() -> None:
    found = told(mixed())["over_blocking"]
    assert (found["all safe rows"]["rows"], found["all safe rows"]["failed"]) == (4, 1)
    assert (found["benign look-alikes"]["rows"], found["benign look-alikes"]["failed"]) == (2, 1)
    assert found["benign look-alikes"]["measures"]["false_positives"]["value"] == 1.0


def test_a_safe_row_beside_a_harmful_one_of_its_group_is_a_look_alike() -> None:
    rows = [
        scored("a", "safe", sure("safe"), group="pair"),
        scored("b", "unsafe", sure("unsafe"), group="pair"),
        scored("c", "safe", sure("unsafe"), group="two safe ones"),
        scored("d", "safe", sure("safe"), group="two safe ones"),
        scored("e", "unsafe", sure("unsafe")),
        scored("f", "safe", sure("unsafe")),
    ]
    found = told(rows)["over_blocking"]["benign look-alikes"]
    assert (found["rows"], found["measures"]["false_positives"]["value"]) == (1, 0.0)


def test_a_category_is_told_from_the_safe_rows_with_an_interval() -> None:
    rows = [*drawn(80, seed=3), *(_violent(at, at / 40) for at in range(40))]
    found = told(rows)["by"]["category"]["Violent"]["measures"]["auroc_safe"]
    kept = [row for row in rows if row.severity == "safe" or row.categories]
    expected = float(MEASURES["auroc_safe"](MeasuredRows.of(kept), weights_of(kept))[0])
    assert found["value"] == pytest.approx(expected, abs=1e-5)
    assert found["low"] < found["value"] < found["high"]


def _violent(at: int, safe: float) -> ScoredRow:
    return scored(f"v{at}", "unsafe", (safe, 0.0, 1 - safe), categories=("Violent",))


def test_explanations_are_measured_where_the_label_says_what_is_right() -> None:
    found = told(mixed())["explanations"]
    assert (found["asked"], found["failed"]) == (7, {"timed_out": 1, "unparsable": 1})
    assert found["well_formed"] == {"rows": 6, "right": 5, "share": pytest.approx(5 / 6, abs=1e-5)}
    # Of d, e and f the last was found safe; g names no category.
    assert found["category"]["any_right"] == {"rows": 2, "right": 1, "share": 0.5}
    assert found["category"]["all_right"] == {"rows": 2, "right": 0, "share": 0.0}
    assert found["refusal_right"] == {"rows": 1, "right": 0, "share": 0.0}
    assert found["reason_says_category"] == {"rows": 0, "right": 0, "share": None}
    assert found["categories"] == {
        "None": {"None": 1, "PII": 0, "Violent": 0},
        "Violent": {"None": 1, "PII": 2, "Violent": 1},
    }


def test_a_reason_says_the_category_it_names_or_that_labelled_rows_have_with_it() -> None:
    reasons = {
        "Demeans a group.": {"Unethical Acts": 5, "Violent": 1},
        "Asks for a knife; violent.": {"PII": 9},
        "No category.": {},
    }
    written = {
        "Demeans a group.": ("Unethical Acts",),  # right, by the labelled rows
        "Asks for a knife; violent.": ("Violent",),  # right, by its name, which counts first
        "Names PII, sorry.": ("Violent",),  # wrong
        "demeans a group.": ("Unethical Acts",),  # other words, so it says nothing
        "No category.": ("Violent",),  # says nothing
        "Unethical acts.": (),  # the label cannot say
    }
    rows = [
        scored(f"r{at}", "unsafe", sure("unsafe"), categories=label, well_formed=True, found_reason=reason)
        for at, (reason, label) in enumerate(written.items())
    ]
    found = evaluation(rows, seed=0, reasons=reasons)["explanations"]
    assert found["reasons"] == 6
    assert found["reason_says_category"] == {"rows": 5, "right": 3, "share": 0.6}
    assert found["reason_says_right_category"] == {"rows": 5, "right": 2, "share": 0.4}


def test_the_document_depends_on_the_rows_and_not_on_their_order() -> None:
    rows = drawn(80, seed=1)
    shuffled = random.Random(0).sample(rows, len(rows))
    assert orjson.dumps(evaluation(rows, seed=3)) == orjson.dumps(evaluation(shuffled, seed=3))


def test_the_whole_is_what_the_measures_say() -> None:
    rows = drawn(200, seed=2)
    document = evaluation(rows, seed=0)
    for name, measure in MEASURES.items():
        expected = float(measure(MeasuredRows.of(rows), weights_of(rows))[0])
        assert document["measures"][name]["value"] == pytest.approx(expected, abs=1e-5)
    assert document["measures"].keys() == SAID.keys()


@given(st.integers(0, 9999), st.integers(2, 400))
def test_a_roc_rises_from_corner_to_corner_and_holds_its_area(seed: int, count: int) -> None:
    rows = drawn(count, seed=seed)
    points = roc(rows, "safe")
    area = float(MEASURES["auroc_safe"](MeasuredRows.of(rows), weights_of(rows))[0])
    if not points:
        assert area != area  # noqa: PLR0124 - NaN
        return
    assert (points[0], points[-1]) == ((0, 0), (1, 1))
    assert points == sorted(points)
    drawn_area = sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(points))
    assert drawn_area == pytest.approx(area, abs=0.01)


def test_reliability_holds_every_judged_row() -> None:
    assert sum(one["rows"] for one in evaluation(drawn(100, seed=3), seed=0)["reliability"]) == 100
    assert told([scored("a", "safe", None)])["reliability"] == []


def test_the_worst_rows_are_mistakes_by_the_probability_of_their_label() -> None:
    rows = [
        scored("right", "safe", sure("safe", 0.4)),
        scored("bad", "safe", sure("unsafe", 0.8)),
        scored("worse", "safe", sure("unsafe", 0.98)),
        scored("failed", "safe", None),
    ]
    assert evaluation(rows, seed=0)["worst"] == ["worse", "bad"]


HOSTILE = "|<img src=x>[a](https://x.example)`\n# *b* @team ![c](d) $x$ \u202e www.x.example &lt;"


@given(st.text(max_size=500))
def test_a_name_stays_in_its_cell(name: str) -> None:
    lines = table(("name", "rows"), [(name, 1)]).split("\n")
    assert len(lines) == 3
    assert len(re.findall(r"(?<!\\)\|", lines[2])) == 3
    assert not re.search(r"(?<!\\)[`*_\[\]#~$@]", plain(name))
    assert "<" not in plain(name)
    assert len(lines[2]) < 5000


def test_hostile_names_are_shown_and_not_obeyed() -> None:
    rows = [
        scored(f"r{at}", "safe", sure("unsafe"), source="a|<b>[c](http://d)", label_basis="*x*")
        for at in range(2)
    ]
    found = page({**told(rows), "judged": {"files": [HOSTILE]}}, title=HOSTILE)
    assert HOSTILE not in found
    for acting in ("<img", "](http", "@team", "\u202e", "<b>", "https://x", "www.x"):
        assert not re.search(rf"(?<!\\){re.escape(acting)}", found), acting
    assert found.startswith("# \\|")
    lines = [line for line in found.splitlines() if line.startswith("|")]
    assert len([line for line in lines if "a\\|&lt;b&gt;\\[c\\](http\\://d)" in line]) == 1


def test_no_text_and_no_reason_is_on_the_page_unless_asked() -> None:
    rows = [
        scored("r", "safe", sure("unsafe"), well_formed=True, found_reason="unforgettable marzipan"),
        scored("s", "safe", sure("safe")),
    ]
    assert "marzipan" not in page(told(rows), title="t")
    assert "marzipan" not in orjson.dumps(told(rows)).decode()
    shown_page = page(told(rows), title="t", texts={"r": "a lighthouse | of *marzipan*"})
    assert r"a lighthouse \| of \*marzipan\*" in shown_page
    assert "Texts of rows are shown below" in shown_page


def test_failures_are_told_first() -> None:
    found = page(told(mixed()), title="t")
    assert "10 rows, 9 judged, 1 failed (timed\\_out 1)." in found
    assert "sends it to review" in found
    assert "sends it to review" not in page(told([scored("a", "safe", sure("safe"))]), title="t")


def test_an_evaluation_of_failures_alone_has_a_page_and_plots(tmp_path: Path) -> None:
    document = told([scored("a", "safe", None)])
    assert "1 failed" in page(document, title="t")
    report.draw(document, tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(report.PLOTS)


def test_plots_are_small_and_equal_for_equal_evaluations(tmp_path: Path) -> None:
    document = told(
        [*drawn(60, seed=1), *(scored(f"d{at}", "safe", sure("safe"), language="de") for at in range(3))]
    )
    (tmp_path / "again").mkdir()
    report.draw(document, tmp_path)
    report.draw(document, tmp_path / "again")
    for name in report.PLOTS:
        content = (tmp_path / name).read_bytes()
        assert content == (tmp_path / "again" / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 60_000


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (None, "–"),
        ({"value": 0.5, "low": None, "high": None}, "0.500"),
        ({"value": 0.5, "low": 0.25, "high": 0.75}, "0.500 (0.250–0.750)"),
    ],
)
def test_an_estimate_is_shown_with_its_interval(estimate: Any, said: str) -> None:
    assert shown(estimate) == said
