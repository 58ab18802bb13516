"""Differences and counts: values against the measures of an evaluation, and intervals that hold together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sluicegate.engines.adapt.evaluate.measures import MEASURES as EVALUATED
from sluicegate.engines.adapt.evaluate.measures import MeasuredRows
from sluicegate.engines.adapt.gate.checks import sides_of
from sluicegate.engines.adapt.gate.differences import MEASURES, ComparedGroup, differences
from support.scored import weights_of
from support.scored_rows import labelled_rows, scored

ROWS = labelled_rows(600)


def act(row: object) -> str:
    del row
    return "allow"


def everything(count: int) -> ComparedGroup:
    return ComparedGroup("all", "all", np.arange(count))


@pytest.mark.parametrize(
    ("gates", "evaluations"),
    [
        ("macro_f1", "macro_f1"),
        ("harmful_recall", "harmful_found"),
        ("benign_false_positives", "false_positives"),
    ],
)
def test_a_measure_of_the_gate_is_that_of_the_evaluation(gates: str, evaluations: str) -> None:
    new, current = scored(ROWS, seed=2, skill=1.5), scored(ROWS, seed=1)
    measure = next(one for one in MEASURES if one.name == gates)
    (found,) = differences(sides_of(new, current, act), [(everything(600), measure)], seed=0, resamples=20)
    for side, rows in ((found.new, new), (found.current, current)):
        assert side == pytest.approx(
            float(EVALUATED[evaluations](MeasuredRows.of(rows), weights_of(rows))[0])
        )
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


def test_equal_models_seldom_look_different_however_much_is_looked_at() -> None:
    languages = sorted({row.language or "" for row in ROWS})
    alarms = 0
    for trial in range(12):
        new, current = (scored(ROWS, seed=100 + 2 * trial + at, shared=trial) for at in (0, 1))
        wanted = [
            (ComparedGroup("language", one, np.flatnonzero([row.language == one for row in ROWS])), measure)
            for one in languages
            for measure in MEASURES[:3]
        ]
        found = differences(sides_of(new, current, act), wanted, seed=trial, resamples=200)
        alarms += any(one.is_certain for one in found)
    # 18 differences at a time: one by one at 95 %, most trials would ring.
    assert alarms <= 3


def test_a_handful_of_changed_rows_is_never_certain() -> None:
    current = scored(ROWS, seed=1)
    safe = [at for at, row in enumerate(current) if row.severity == "safe" and row.found == "safe"]

    new = list(current)
    for at in safe[:3]:
        new[at] = replace(new[at], probabilities=(0.0, 0.0, 1.0))
    measure = next(one for one in MEASURES if one.name == "benign_false_positives")
    (few,) = differences(sides_of(new, current, act), [(everything(600), measure)], seed=0)
    assert few.loss > 0
    assert not few.is_certain
    for at in safe[:30]:
        new[at] = replace(new[at], probabilities=(0.0, 0.0, 1.0))
    (many,) = differences(sides_of(new, current, act), [(everything(600), measure)], seed=0)
    assert many.is_certain
