"""A resolution contradicts itself nowhere, and its id stands for what was decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sluicegate.schemas import (
    Action,
    Authority,
    Basis,
    Resolution,
    ResolutionCause,
    feedback_id,
    resolution_id,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "v1.1" / "resolution"


def given(name: str, **changes: Any) -> str:
    return json.dumps({**json.loads((GOLDEN / f"{name}.json").read_text()), **changes})


def test_what_is_known_is_read_as_such_and_the_rest_stays_text() -> None:
    known = Resolution.model_validate_json(given("overturned"))
    assert (known.authority, known.basis, known.cause) == (
        Authority.REVIEWER,
        Basis.SINGLE,
        ResolutionCause.REVIEW,
    )
    newer = Resolution.model_validate_json(given("from_a_newer_desk"))
    assert (newer.basis, newer.cause) == ("panel_of_five", "court_order")


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": ["Violent"]},
        {"severity": None},
        {"authority": "machine"},
        {"cause": "reopened"},
        {"authority": "chief"},
        {"decided_at": 1772442000},
        {"reviewer": ""},
    ],
    ids=json.dumps,
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Resolution.model_validate_json(given("overturned", **changes))


def test_only_what_was_reopened_speaks_for_the_machine() -> None:
    assert Resolution.model_validate_json(given("reopened")).reopens
    assert not Resolution.model_validate_json(given("overturned")).reopens


def test_people_count_for_more_than_the_machine_and_an_appeal_for_most() -> None:
    assert sorted(Authority, key=lambda one: one.rank) == ["machine", "reviewer", "adjudicator", "appeal"]


def test_one_id_never_has_two_actions_and_a_repeat_has_the_same() -> None:
    same = {"verdict_id": "v", "content": "sha256:00", "decision": "d"}
    ids = {resolution_id(**same, action=action) for action in Action}
    assert len(ids) == len(Action)
    assert resolution_id(**same, action=Action.ALLOW) in ids
    assert feedback_id("a") == feedback_id("a") != feedback_id("b")
