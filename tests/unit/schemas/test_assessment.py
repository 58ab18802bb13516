"""Scores are probabilities, and a tie is never the milder."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.schemas import CATEGORIES, AssessedBy, Assessment, Scores
from support.events import scores


@pytest.mark.parametrize(
    ("safe", "controversial", "unsafe", "severity"),
    [
        (1, 0, 0, "safe"),
        (0, 1, 0, "controversial"),
        (0, 0, 1, "unsafe"),
        (0.5, 0.5, 0, "controversial"),
        (0.5, 0, 0.5, "unsafe"),
        (0, 0.5, 0.5, "unsafe"),
        (1 / 3, 1 / 3, 1 / 3, "unsafe"),
        (0.5000001, 0, 0.4999999, "safe"),
    ],
)
def test_the_likeliest_severity_wins_and_a_tie_goes_to_the_more_severe(
    safe: float, controversial: float, unsafe: float, severity: str
) -> None:
    assert Scores(safe=safe, controversial=controversial, unsafe=unsafe).severity == severity


@given(drawn=scores)
def test_the_severity_is_one_that_no_other_score_exceeds(drawn: Scores) -> None:
    assert getattr(drawn, drawn.severity) == max(drawn.safe, drawn.controversial, drawn.unsafe)


@pytest.mark.parametrize(
    "values",
    [
        (0, 0, 0),
        (1, 1, 1),
        (0.5, 0.5, 0.1),
        (0.5, 0.499998, 0),
        (1.5, -0.5, 0),
        (math.nan, 0.5, 0.5),
        (math.inf, 0, 0),
        (1, math.nan, 0),
    ],
)
def test_what_is_no_distribution_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValidationError):
        Scores(safe=values[0], controversial=values[1], unsafe=values[2])


@given(parts=st.tuples(*[st.floats(1e-12, 1e6)] * 3))
def test_normalised_numbers_sum_up_well_enough(parts: tuple[float, float, float]) -> None:
    total = sum(parts)
    drawn = Scores(safe=parts[0] / total, controversial=parts[1] / total, unsafe=parts[2] / total)
    assert drawn.safe + drawn.controversial + drawn.unsafe == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {"categories": tuple(str(n) for n in range(17))},
        {"categories": ("",)},
        {"categories": ("x" * 65,)},
        {"category_scores": {"PII": math.nan}},
        {"category_scores": {"PII": 1.01}},
        {"category_scores": {str(n): 0.0 for n in range(65)}},
        {"reason": "x" * 401},
    ],
    ids=["many", "empty", "long", "not a number", "above one", "many scores", "long reason"],
)
def test_what_a_model_writes_is_bounded(fields: dict[str, object]) -> None:
    known = {
        "scores": Scores(safe=1, controversial=0, unsafe=0),
        "severity": "safe",
        "assessed_by": AssessedBy.ENGINE,
    }
    Assessment.model_validate({**known, "categories": CATEGORIES, "reason": "x" * 400})
    with pytest.raises(ValidationError):
        Assessment.model_validate({**known, **fields})
