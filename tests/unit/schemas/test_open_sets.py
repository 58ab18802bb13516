"""Codes of a newer version must not stop an older reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from sluicegate.schemas import DeadLetter, FailureCode, ReasonCode, Verdict

GOLDEN = Path(__file__).parents[2] / "golden" / "v1.0"


def record(folder: str, **fields: object) -> bytes:
    found = sorted((GOLDEN / folder).glob("could_not_be_scored.json")) or sorted(
        (GOLDEN / folder).glob("*.json")
    )
    return json.dumps(json.loads(found[0].read_text()) | fields).encode()


def test_a_known_failure_code_is_read_as_itself_and_an_unknown_one_as_text() -> None:
    for code, read in (("timed_out", FailureCode.TIMED_OUT), ("engine_melted", "engine_melted")):
        verdict = Verdict.model_validate_json(record("verdict", failure={"code": code, "mode": "review"}))
        assert verdict.failure is not None
        assert verdict.failure.code == read
        assert isinstance(verdict.failure.code, FailureCode) == (code == "timed_out")
        assert verdict.outcome == f"failure:{code}"


def test_an_unknown_reason_code_is_read_as_text() -> None:
    assert DeadLetter.model_validate_json(record("dead_letter", code="virus")).code == "virus"
    known = DeadLetter.model_validate_json(record("dead_letter", code="oversize")).code
    assert known is ReasonCode.OVERSIZE


@pytest.mark.parametrize("code", ["", "Has Space", "x" * 65, "a\nb", 5, None])
def test_a_code_is_still_a_short_plain_word(code: object) -> None:
    with pytest.raises(ValidationError):
        DeadLetter.model_validate_json(record("dead_letter", code=code))
