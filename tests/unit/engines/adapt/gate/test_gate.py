"""The gate: a spoiled model is refused and the loss named; chance refuses nobody; only the same rows are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.adapt.errors import GateError
from sluicegate.engines.adapt.evaluate.scored import read_evaluated
from sluicegate.engines.adapt.export.gate_file import decide
from sluicegate.engines.adapt.gate.gate import gate
from sluicegate.engines.adapt.gate.limits import GateLimits
from sluicegate.engines.adapt.gate.report import page, sentence
from sluicegate.engines.errors import ExportError
from support.scored_rows import labelled_rows, scored, spoiled, write_evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

POLICY = {"name": "made", "version": "1", "digest": "sha256:policy"}
ROWS = labelled_rows(1000)
CURRENT = scored(ROWS, seed=1)


def act(row: ScoredRow) -> str:
    if row.probabilities is None:
        return "review"
    return "block" if row.probabilities[2] >= 0.8 else "review" if row.probabilities[2] >= 0.4 else "allow"


def gated(
    folder: Path,
    new: Sequence[ScoredRow],
    current: Sequence[ScoredRow] = CURRENT,
    limits: Any = None,
    **changes: Any,
) -> dict[str, Any]:
    sides = (
        read_evaluated(write_evaluation(folder / "new", new, digest="new", **changes)),
        read_evaluated(write_evaluation(folder / "current", current, digest="current")),
    )
    return gate(*sides, GateLimits.over_built_in(limits), act, policy=POLICY)


def named(document: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(one["what"], one["by"], one["group"]) for one in document["regressions"]}


def test_a_model_spoiled_in_one_language_is_refused_and_the_language_named(tmp_path: Path) -> None:
    document = gated(tmp_path, spoiled(scored(ROWS, seed=2), "ko"))
    assert document["passed"] is False
    found = named(document)
    assert {
        ("macro_f1", "language", "ko"),
        ("harmful_recall", "language", "ko"),
        ("benign_false_positives", "language", "ko"),
    } <= found
    assert {group for _, by, group in found if by == "language"} == {"ko"}
    first = next(one for one in document["regressions"] if one["group"] == "ko")
    assert first["new"] < first["current"] - 0.3
    text = page(document)
    assert text.startswith("# Gate: refused\n")
    assert "- macro-F1, language ko: 0." in text
    assert "language ko: " in sentence(first)


def test_the_door_of_export_reads_the_report_and_names_the_regression(tmp_path: Path) -> None:
    document = gated(tmp_path, spoiled(scored(ROWS, seed=2), "ko"))
    path = tmp_path / "gate.json"
    path.write_bytes(orjson.dumps(document))
    with pytest.raises(ExportError, match=r"the gate did not pass .*macro_f1"):
        decide(path, None)
    decision = decide(path, "a trial in one tenant")
    decision.require({"sha256:new"})
    with pytest.raises(ExportError, match="run the gate on this one"):
        decision.require({"sha256:current"})
    assert orjson.loads(decision.content())["override"] == "a trial in one tenant"
    assert orjson.loads(decision.content())["regressions"] == document["regressions"]


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_an_equally_good_model_passes(tmp_path: Path, seed: int) -> None:
    document = gated(tmp_path, scored(ROWS, seed=seed))
    assert document["regressions"] == []
    assert document["passed"] is True
    assert page(document).startswith("# Gate: passed\n")
    assert decide_passed(tmp_path, document)


def decide_passed(folder: Path, document: dict[str, Any]) -> bool:
    path = folder / "gate.json"
    path.write_bytes(orjson.dumps(document))
    return decide(path, None).override is None


def test_a_better_model_passes_and_a_worse_one_does_not(tmp_path: Path) -> None:
    assert gated(tmp_path / "a", scored(ROWS, seed=2, skill=2.6))["passed"] is True
    worse = gated(tmp_path / "b", scored(ROWS, seed=2, skill=1.4))
    assert ("macro_f1", "all", "all") in named(worse)


def test_a_loss_within_its_limit_or_within_chance_is_none(tmp_path: Path) -> None:
    worse = scored(ROWS, seed=2, skill=1.7)
    wide = {
        part: {f"{name}": 0.5 for name in names}
        for part, names in {
            "overall": (
                "macro_f1_drop",
                "harmful_recall_drop",
                "benign_false_positives_rise",
                "benign_blocked_rise",
            ),
            "language": ("macro_f1_drop", "harmful_recall_drop", "benign_false_positives_rise"),
            "category": ("harmful_recall_drop",),
            "kind": ("macro_f1_drop", "harmful_recall_drop", "benign_false_positives_rise"),
            "source": ("benign_false_positives_rise",),
        }.items()
    }
    assert gated(tmp_path / "a", worse, limits=wide)["passed"] is True
    few = 90  # a handful of rows changes much, and chance alone may do that
    less = {name: {"minimum_rows": 1} for name in ("overall", "language", "category", "kind", "source")}
    always = {"always": {"explained_rows_least": 1}}
    document = gated(
        tmp_path / "b", scored(ROWS[:few], seed=5), scored(ROWS[:few], seed=1), {**less, **always}
    )
    assert document["passed"] is True
    assert any(abs(one["difference"] or 0) > 0.05 for one in document["checks"] if one["by"] == "language")


def test_too_few_rows_pass_nobody(tmp_path: Path) -> None:
    document = gated(tmp_path, scored(ROWS[:60], seed=2), scored(ROWS[:60], seed=1))
    assert document["passed"] is False
    assert ("explained_rows_least", "all", "all") in named(document)
    first = next(one for one in document["regressions"] if one["what"] == "macro_f1")
    assert sentence(first) == "macro-F1: 60 rows, at least 100 needed"


def test_a_form_that_was_broken_once_and_a_row_that_fails_anew_are_regressions(tmp_path: Path) -> None:
    new = scored(ROWS, seed=2)
    at = next(at for at, row in enumerate(new) if row.well_formed)
    new[at] = replace(new[at], well_formed=False)
    new[at + 1] = replace(new[at + 1], probabilities=None, failure="timed_out", well_formed=None)
    found = named(gated(tmp_path / "a", new))
    assert found == {("well_formed_least", "all", "all"), ("newly_failed_most", "all", "all")}
    # What both cannot score is no news; what nobody explained was not shown to be in order.
    current = list(CURRENT)
    current[at + 1] = new[at + 1]
    new = [replace(row, well_formed=None) for row in new]
    assert named(gated(tmp_path / "b", new, current)) == {("explained_rows_least", "all", "all")}
    unlimited = {"always": {"well_formed_least": None}}
    assert gated(tmp_path / "c", new, current, unlimited)["passed"] is True


def test_flips_are_counted_by_direction_and_label(tmp_path: Path) -> None:
    new = [
        replace(row, probabilities=(0.0, 0.0, 1.0)) if row.severity == "safe" and row.found == "safe" else row
        for row in CURRENT
    ]
    count = sum(one is not other for one, other in zip(new, CURRENT, strict=True))
    document = gated(tmp_path, new)
    severities = document["flips"]["severities"]
    assert severities.keys() == {"safe to unsafe"}
    assert (severities["safe to unsafe"]["rows"], severities["safe to unsafe"]["safe"]) == (count, count)
    assert len(severities["safe to unsafe"]["ids"]) == 20
    blocked = next(one for one in document["checks"] if one["what"] == "benign_blocked")
    assert blocked["outcome"] == "regression"
    assert blocked["new"] > 0.8
    rate = next(one for one in document["checks"] if one["what"] == "block_rate")
    assert (rate["outcome"], rate["limit"]) == ("not_limited", None)


def test_the_same_evaluations_give_the_same_report(tmp_path: Path) -> None:
    new = spoiled(scored(ROWS[:400], seed=2), "ko")
    one, other = (gated(tmp_path / at, new, CURRENT[:400]) for at in "ab")
    assert one == other


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows_digest": "sha256:others"}, "the texts are not the same"),
        ({"split": "train"}, "evaluate both models with --split dev"),
        ({"split": None, "training_rows": 1}, "evaluate both models with --split dev"),
        ({"terms": {"hints": True, "most_tokens": 100, "most_segments": 4}}, "judged.terms.hints is True"),
        (
            {"engine": {"digest": "sha256:current", "backend": "fake", "model": "a", "adapter": None},
             "terms": {"most_tokens": 100, "most_segments": 4}},
            "are of the same model",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(GateError, match=said):
        gated(tmp_path, scored(ROWS, seed=2), **changes)


def test_other_rows_or_labels_are_refused_and_named(tmp_path: Path) -> None:
    new = scored(ROWS, seed=2)
    with pytest.raises(GateError, match=r"1 only in .*current \(such as 'row-999'\)"):
        gated(tmp_path / "a", [row for row in new if row.id != "row-999"])
    other = [replace(row, severity="unsafe", categories=()) if row.id == "row-7" else row for row in new]
    with pytest.raises(GateError, match="the row 'row-7' has another"):
        gated(tmp_path / "b", other)


def test_rows_of_one_group_have_no_interval_and_a_loss_on_them_is_one(tmp_path: Path) -> None:
    new, current = (
        [replace(row, group="all one") for row in side] for side in (scored(ROWS, seed=2, skill=0.5), CURRENT)
    )
    document = gated(tmp_path, new, current)
    first = next(one for one in document["regressions"] if one["by"] == "all")
    assert (first["what"], first["interval"]) == ("macro_f1", None)
