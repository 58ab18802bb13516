"""Grouping and choosing: a method of its own only where rows say so, else that of what is above."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sluicegate.engines.adapt.calibrate.fitting import INHERITED, Aims, fold_numbers
from sluicegate.engines.adapt.calibrate.grouping import RAW, GroupingTerms, applied, data_digest, fit
from sluicegate.engines.bundle.calibration import Temperature
from sluicegate.schemas import Scores
from support.scored import drawn

if TYPE_CHECKING:
    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

AIMS = Aims((0.05,))
TERMS = GroupingTerms(AIMS)


def rows_of(count: int, *, seed: int, sureness: float = 1.0, **changed: object) -> list[ScoredRow]:
    """Rows that are right at a sureness of 1, and too sure above."""
    mapping = Temperature(temperature=1 / sureness)
    found = []
    for row in drawn(count, seed=seed, **changed):
        safe, controversial, unsafe = row.probabilities or (1.0, 0.0, 0.0)
        surer = mapping.apply(Scores(safe=safe, controversial=controversial, unsafe=unsafe))
        name = f"{changed.get('kind', '')}-{changed.get('language', '')}-{row.id}"
        found.append(replace(row, id=name, probabilities=(surer.safe, surer.controversial, surer.unsafe)))
    return found


def test_scores_that_are_right_stay_as_they_are() -> None:
    found = fit(rows_of(500, seed=1), TERMS)
    assert (found.fallback_method, found.calibration.fallback) == (RAW, Temperature(temperature=1.0))
    assert found.methods == (INHERITED,)


def test_a_language_that_is_otherwise_gets_its_own_and_others_their_kinds() -> None:
    rows = [
        *rows_of(400, seed=1, sureness=3, language="en"),
        *rows_of(400, seed=2, sureness=3, language="de-AT"),
        *rows_of(400, seed=3, sureness=0.4, language="zh-Hant"),
    ]
    found = fit(rows, TERMS)
    by_language = dict(zip([one.languages for one in found.calibration.groups], found.methods, strict=True))
    assert by_language.keys() == {(), ("en",), ("de",), ("zh",)}
    assert by_language["zh",] != INHERITED
    for language, sureness in (("zh-Hant", 0.4), ("en", 3.0)):
        group = found.calibration.group("post", language)
        assert group is not None
        if isinstance(group.mapping, Temperature):
            assert group.mapping.temperature == pytest.approx(sureness, rel=0.2)
    thresholds = [one.thresholds.keys() for one in found.calibration.groups]
    assert thresholds == [{"risk_fpr_5", "unsafe_fpr_5"}] * 4


def test_few_rows_of_a_language_have_their_kinds_and_of_a_kind_all_rows() -> None:
    rows = [
        *rows_of(500, seed=1, sureness=3, language="en"),
        *rows_of(60, seed=2, sureness=0.3, language="ko"),
        *rows_of(60, seed=3, sureness=3, kind="prompt", language="en"),
    ]
    found = fit(rows, TERMS).calibration
    assert [(one.kind, one.languages) for one in found.groups] == [("post", ()), ("post", ("en",))]
    kind = found.group("post", "ko")
    assert kind is not None
    assert kind.languages == ()
    assert found.group("prompt", "en") is None
    # A kind with rows enough, all of one side, tells nothing either.
    benign = [replace(row, severity="safe") for row in rows_of(300, seed=4, kind="response")]
    assert {one.kind for one in fit(rows + benign, TERMS).calibration.groups} == {"post"}


def test_languages_are_calibrated_as_one_if_so_wanted() -> None:
    rows = [
        *rows_of(300, seed=1, language="en"),
        *rows_of(120, seed=2, sureness=4, language="zh"),
        *rows_of(120, seed=3, sureness=4, language="ja"),
    ]
    found = fit(rows, replace(TERMS, language_groups=(("zh", "ja", "th"),)))
    groups = dict(zip([one.languages for one in found.calibration.groups], found.methods, strict=True))
    assert groups.keys() == {(), ("en",), ("zh", "ja", "th")}
    assert groups["zh", "ja", "th"] != INHERITED
    assert found.calibration.group("post", "th") is found.calibration.group("post", "zh")


def test_what_is_applied_here_is_what_a_worker_applies() -> None:
    rows = [
        *rows_of(300, seed=1, sureness=3, language="en"),
        *rows_of(300, seed=2, sureness=0.4, language="zh"),
        *rows_of(30, seed=3, kind="prompt"),
    ]
    calibration = fit(rows, TERMS).calibration
    for row, three in zip(rows, applied(calibration, rows).tolist(), strict=True):
        safe, controversial, unsafe = row.probabilities or (1.0, 0.0, 0.0)
        raw = Scores(safe=safe, controversial=controversial, unsafe=unsafe)
        served = calibration.calibrated(raw, row.kind, row.language)
        assert (served.safe, served.controversial, served.unsafe) == tuple(three)


def test_folds_keep_groups_together_and_forget_the_order() -> None:
    rows = [replace(row, group=f"g{at // 3}") for at, row in enumerate(drawn(300, seed=1))]
    folds = fold_numbers(rows, seed=0)
    assert {len(set(folds[at : at + 3].tolist())) for at in range(0, 300, 3)} == {1}
    assert set(folds.tolist()) == set(range(5))
    assert np.array_equal(folds[::-1], fold_numbers(rows[::-1], seed=0))
    assert not np.array_equal(folds, fold_numbers(rows, seed=1))


def test_the_digest_is_of_rows_labels_and_scores_whatever_their_order() -> None:
    rows = drawn(20, seed=1)
    assert data_digest(rows) == data_digest(rows[::-1])
    first = rows[0]
    for changed in (
        replace(first, probabilities=(1.0, 0.0, 0.0)),
        replace(first, severity="unsafe" if first.severity == "safe" else "safe"),
        replace(first, id="other"),
    ):
        assert data_digest([changed, *rows[1:]]) != data_digest(rows)
