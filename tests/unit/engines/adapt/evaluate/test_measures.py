"""Measures against scikit-learn and by hand, and their intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from sluicegate.engines.adapt.evaluate import measures
from sluicegate.engines.adapt.evaluate.measures import (
    MEASURES,
    MOST_RESAMPLES,
    Estimate,
    MeasuredRows,
    auroc,
    bins,
    clusters,
    draws,
    estimates,
    likeliest,
    recall_at,
    resamples,
)
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.adapt.train.log import DevJudged as TrainingJudged
from sluicegate.engines.adapt.train.log import summary
from support.scored import drawn, scored, sure, weights_of

if TYPE_CHECKING:
    from sluicegate.engines.adapt.evaluate.scored import ScoredRow


BY_HAND = [
    # label, found
    *[("safe", "safe")] * 5,
    *[("safe", "controversial")],
    *[("safe", "unsafe")] * 2,
    *[("controversial", "controversial")] * 3,
    *[("controversial", "safe")],
    *[("unsafe", "unsafe")] * 2,
    *[("unsafe", "controversial")],
    *[("unsafe", "safe")],
]


def by_hand() -> list[ScoredRow]:
    return [scored(f"r{at}", label, sure(found)) for at, (label, found) in enumerate(BY_HAND)]  # type: ignore[arg-type]


def value(name: str, rows: list[ScoredRow]) -> float:
    return float(MEASURES[name](MeasuredRows.of(rows), weights_of(rows))[0])


def test_counted_measures_by_hand() -> None:
    rows = by_hand()
    assert value("accuracy", rows) == pytest.approx(10 / 16)
    # safe: 5 right, 8 labelled, 7 found; controversial: 3, 4, 5; unsafe: 2, 4, 4.
    assert value("macro_f1", rows) == pytest.approx((10 / 15 + 6 / 9 + 4 / 8) / 3)
    # harmful: 6 of 8 found, 9 found in all.
    assert value("strict_f1", rows) == pytest.approx(12 / 17)
    assert value("loose_f1", rows) == pytest.approx(4 / 8)
    assert value("harmful_found", rows) == pytest.approx(6 / 8)
    assert value("false_positives", rows) == pytest.approx(3 / 8)
    assert value("false_unsafe", rows) == pytest.approx(2 / 8)


def test_probability_measures_by_hand() -> None:
    rows = [scored("a", "safe", (0.5, 0.25, 0.25)), scored("b", "unsafe", (0.25, 0.25, 0.5))]
    assert value("log_loss", rows) == pytest.approx(math.log(2))
    assert value("brier", rows) == pytest.approx(0.25 + 2 * 0.0625)
    assert value("ece", rows) == pytest.approx(0.5)  # both right, both half sure
    assert value("auroc_safe", rows) == value("auroc_unsafe", rows) == 1.0


def test_macro_f1_is_over_the_severities_that_occur_and_a_class_without_rows_has_no_f1() -> None:
    rows = [scored("a", "safe", sure("safe")), scored("b", "safe", sure("unsafe"))]
    assert value("macro_f1", rows) == pytest.approx(2 / 3)
    assert math.isnan(value("strict_f1", rows))
    assert math.isnan(value("auroc_safe", rows))
    assert math.isnan(value("recall_5_percent", rows))


def test_a_failed_row_is_in_no_measure() -> None:
    rows = by_hand()
    failed = [*rows, scored("failed", "unsafe", None)]
    for name, measure in MEASURES.items():
        assert measure(MeasuredRows.of(failed), weights_of(rows)) == pytest.approx(
            value(name, rows), nan_ok=True
        )


def test_nothing_to_measure_is_nan_for_every_measure() -> None:
    none = MeasuredRows.of([])
    assert all(math.isnan(measure(none, np.ones((1, 0)))[0]) for measure in MEASURES.values())


def test_a_tie_between_severities_goes_to_the_more_severe() -> None:
    three = np.array([[0.4, 0.4, 0.2], [0.4, 0.2, 0.4], [0.2, 0.4, 0.4], [0.5, 0.3, 0.2]])
    assert likeliest(three).tolist() == [1, 2, 2, 0]


def test_recall_at_a_limit_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.04, 0.03])
    positive = np.array([True, False, True, *[False] * 9])
    once = np.ones((1, 12))
    assert recall_at(scores, positive, once, 0.0)[0] == 0.5
    assert recall_at(scores, positive, once, 0.1)[0] == 1.0  # one of ten safe rows, exactly
    assert recall_at(scores, positive, once, 0.0999)[0] == 0.5


def test_equal_scores_are_found_together_so_a_constant_score_finds_nothing() -> None:
    positive = np.array([True, True, False, False])
    assert recall_at(np.full(4, 0.5), positive, np.ones((1, 4)), 0.05)[0] == 0.0
    assert auroc(np.full(4, 0.5), positive, np.ones((1, 4)))[0] == 0.5


labels = st.lists(st.booleans(), min_size=2, max_size=40)


@given(labels, st.data())
def test_auroc_is_the_share_of_pairs_in_order(positive: list[bool], data: st.DataObject) -> None:
    scores = [data.draw(st.integers(0, 5)) / 5 for _ in positive]
    pairs = [
        (one, other)
        for one, is_one in zip(scores, positive, strict=True)
        for other, is_other in zip(scores, positive, strict=True)
        if is_one and not is_other
    ]
    found = auroc(np.array(scores), np.array(positive), np.ones((1, len(positive))))[0]
    if not pairs:
        assert math.isnan(found)
        return
    expected = sum((one > other) + (one == other) / 2 for one, other in pairs) / len(pairs)
    assert found == pytest.approx(expected)
    turned = auroc(-np.array(scores), np.array(positive), np.ones((1, len(positive))))[0]
    assert found + turned == pytest.approx(1.0)


@given(st.integers(0, 2**20), st.integers(2, 40))
def test_a_weight_is_a_row_written_so_often(seed: int, count: int) -> None:
    rows = drawn(count, seed=seed)
    times = np.random.default_rng(seed).integers(0, 4, size=count)
    repeated = [row for row, often in zip(rows, times, strict=True) for _ in range(often)]
    for name, measure in MEASURES.items():
        if name == "ece":  # a row that straddles two bins is in one of them, with all its weight
            continue
        weighted = measure(MeasuredRows.of(rows), times[None, :].astype(float))[0]
        plain = measure(MeasuredRows.of(repeated), weights_of(repeated))[0]
        assert weighted == pytest.approx(plain, nan_ok=True), name


@given(st.integers(0, 2**20), st.integers(1, 60))
def test_shares_lie_between_nothing_and_all(seed: int, count: int) -> None:
    rows = drawn(count, seed=seed)
    for name in MEASURES.keys() - {"log_loss", "brier"}:
        found = value(name, rows)
        assert math.isnan(found) or 0 <= found <= 1, name
    assert 0 <= value("brier", rows) <= 2
    assert value("log_loss", rows) >= 0


def test_what_training_measures_is_the_same() -> None:
    rows = drawn(300, seed=3)
    judged = [TrainingJudged("en", row.severity, row.probabilities or (0, 0, 0)) for row in rows]
    for name, expected in summary(judged).items():
        if name != "rows":
            assert value(name, rows) == pytest.approx(expected, abs=5e-5), name


def test_scikit_learn_says_the_same() -> None:
    rows = drawn(500, seed=4)
    judged = MeasuredRows.of(rows)
    labels, found, three = judged.labels, judged.found, judged.probabilities
    expected: dict[str, Any] = {
        "accuracy": metrics.accuracy_score(labels, found),
        "macro_f1": metrics.f1_score(labels, found, average="macro"),
        "strict_f1": metrics.f1_score(labels > 0, found > 0),
        "loose_f1": metrics.f1_score(labels == 2, found == 2),
        "auroc_safe": metrics.roc_auc_score(labels > 0, judged.risk),
        "auroc_unsafe": metrics.roc_auc_score(labels == 2, three[:, 2]),
        "harmful_found": metrics.recall_score(labels > 0, found > 0),
        "log_loss": metrics.log_loss(labels, three),
    }
    for limit, name in ((0.01, "recall_1_percent"), (0.05, "recall_5_percent")):
        wrong, recall, _ = metrics.roc_curve(labels > 0, judged.risk, drop_intermediate=False)
        expected[name] = recall[wrong <= limit].max()
    for name, wanted in expected.items():
        assert value(name, rows) == pytest.approx(wanted), name


def test_bins_have_equal_mass_and_hold_everything() -> None:
    rows = drawn(300, seed=5)
    judged = MeasuredRows.of(rows)
    mass, confident, right = bins(
        judged.probabilities.max(axis=1), judged.found == judged.labels, weights_of(rows)
    )
    assert mass[0].tolist() == [20.0] * measures.BINS
    assert (np.diff(confident[0]) > 0).all()
    assert (mass[0] * right[0]).sum() == pytest.approx((judged.found == judged.labels).sum())


def test_the_calibration_error_is_small_where_probabilities_keep_their_word_and_large_where_not() -> None:
    honest = drawn(6000, seed=6)
    assert value("ece", honest) < 0.03
    boastful = [scored(f"r{at}", SEVERITIES[at % 3], sure("safe", 0.98)) for at in range(300)]
    assert value("ece", boastful) == pytest.approx(0.98 - 1 / 3, abs=0.01)


ACCURACY = {"accuracy": MEASURES["accuracy"]}


def rows_right(hits: list[bool], groups: list[str] | None = None) -> list:  # type: ignore[type-arg]
    return [
        scored(f"r{at}", "safe", sure("safe" if hit else "unsafe"), group=groups[at] if groups else None)
        for at, hit in enumerate(hits)
    ]


def test_about_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(120):
        found = estimates(rows_right((rng.random(80) < 0.7).tolist()), seed=trial, measures=ACCURACY)[
            "accuracy"
        ]
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        held += found.low <= 0.7 <= found.high
    assert 105 <= held <= 120


def test_rows_of_one_group_are_drawn_together_so_copies_add_no_certainty() -> None:
    rng = np.random.default_rng(2)
    hits = (rng.random(40) < 0.6).tolist()
    alone = estimates(rows_right(hits), seed=0, measures=ACCURACY)["accuracy"]
    copied = [hit for hit in hits for _ in range(5)]
    groups = [f"g{at}" for at in range(40) for _ in range(5)]
    grouped = estimates(rows_right(copied, groups), seed=0, measures=ACCURACY)["accuracy"]
    naive = estimates(rows_right(copied), seed=0, measures=ACCURACY)["accuracy"]

    def width(one: Estimate) -> float:
        assert one.low is not None
        assert one.high is not None
        return one.high - one.low

    assert width(grouped) == pytest.approx(width(alone), rel=0.2)
    assert width(naive) < 0.6 * width(grouped)


def test_one_group_alone_has_a_value_and_no_interval() -> None:
    found = estimates(rows_right([True, False], ["g", "g"]), seed=0)
    assert found["accuracy"] == Estimate(0.5)


def test_a_measure_that_most_draws_do_not_define_has_no_interval() -> None:
    # One unsafe row among two: half of the draws miss a side.
    rows = [scored("a", "safe", sure("safe")), scored("b", "unsafe", sure("unsafe"))]
    assert estimates(rows, seed=0)["auroc_safe"].value == 1.0
    assert estimates([*rows, scored("c", "safe", sure("safe"))], seed=0)["ece"].low is None


def test_the_same_seed_gives_the_same_and_another_name_or_seed_another() -> None:
    rows = drawn(50, seed=1)
    assert estimates(rows, seed=1, name="en") == estimates(rows, seed=1, name="en")
    assert estimates(rows, seed=1, name="en") != estimates(rows, seed=1, name="de")
    assert estimates(rows, seed=1, name="en") != estimates(rows, seed=2, name="en")


def test_failed_rows_alone_measure_nothing() -> None:
    assert estimates([scored("a", "safe", None)], seed=0) == {}


def test_a_group_and_a_row_of_the_same_name_are_not_one_cluster() -> None:
    rows = [scored("x", "safe", sure("safe")), scored("y", "safe", sure("safe"), group="x")]
    assert clusters(rows).tolist() == [0, 1]


@given(st.integers(1, 5_000_000))
def test_the_work_is_bounded(rows: int) -> None:
    assert 200 <= resamples(rows) <= MOST_RESAMPLES
    assert resamples(rows) * rows <= max(10_000_000, 200 * rows)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 99))
def test_every_draw_takes_as_many_clusters_as_there_are(names: list[int], seed: int) -> None:
    numbers = {name: at for at, name in enumerate(dict.fromkeys(names))}
    cluster = np.array([numbers[name] for name in names])
    total = 0
    for weights in draws(cluster, seed=seed, name=""):
        firsts = [names.index(name) for name in numbers]
        assert (weights[:, firsts].sum(axis=1) == len(numbers)).all()
        total += len(weights)
    assert total == resamples(len(names))
