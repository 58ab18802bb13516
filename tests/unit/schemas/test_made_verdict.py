"""Verdicts on their way out: the model's fields, and its bytes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from sluicegate.schemas import MadeVerdict, RaisedVerdict, Verdict, encode, verdict_bytes
from support.events import made_of, verdicts

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "v1.0" / "verdict"


def test_a_verdict_on_its_way_out_has_the_models_fields_in_their_order() -> None:
    assert [field.name for field in fields(RaisedVerdict)] == list(Verdict.model_fields)
    assert [field.name for field in fields(MadeVerdict)] == list(Verdict.model_fields)[:-1]


@settings(max_examples=300)
@given(verdicts)
def test_its_bytes_are_those_of_the_model(verdict: Verdict) -> None:
    made = made_of(verdict)
    assert verdict_bytes(made) == encode(verdict)
    assert made.checked == verdict


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_verdicts_keep_their_bytes(path: Path) -> None:
    verdict = Verdict.model_validate_json(path.read_bytes())
    assert verdict_bytes(made_of(verdict)) == encode(verdict)


def test_what_is_no_verdict_is_told_by_the_model() -> None:
    made = made_of(Verdict.model_validate_json((GOLDEN / "allowed.json").read_bytes()))
    with pytest.raises(ValidationError, match="severity and scores"):
        _ = replace(made, scores=None).checked


def test_a_value_that_no_verdict_has_is_not_encoded() -> None:
    made = made_of(Verdict.model_validate_json((GOLDEN / "allowed.json").read_bytes()))
    with pytest.raises(TypeError):
        verdict_bytes(replace(made, reason=object()))  # type: ignore[arg-type]  # the fault under test
