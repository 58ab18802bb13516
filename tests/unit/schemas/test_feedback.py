"""Feedback says what a reviewer found, and contradicts itself nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sluicegate.schemas import Feedback

GOLDEN = Path(__file__).parents[2] / "golden" / "v1.0" / "feedback"


def given(name: str, **changes: Any) -> str:
    return json.dumps({**json.loads((GOLDEN / f"{name}.json").read_text()), **changes})


def test_the_post_comes_whole_and_the_corrected_label_beside_it() -> None:
    feedback = Feedback.model_validate_json(given("with_everything"))
    assert feedback.post.turns[0].text == "How do I claim the prize?"
    assert (feedback.severity, feedback.categories) == ("unsafe", ("Non-violent Illegal Acts", "Advance Fee"))
    assert (feedback.refusal, feedback.blind) == (False, False)
    assert feedback.reviewed_at.isoformat() == "2026-03-02T10:30:00.500000+01:00"


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": ["Violent"]},
        {"refusal": True},
        {"severity": "harmful"},
        {"blind": "yes"},
        {"reviewed_at": 1772442000},
        {"post": {"id": "a"}},
        {"verdict_id": ""},
        {"reason": "x" * 401},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Feedback.model_validate_json(given("minimal", **changes))


@pytest.mark.parametrize("name", ["verdict_id", "post", "severity", "blind", "reviewed_at"])
def test_what_the_next_adaptation_rests_on_is_required(name: str) -> None:
    document = json.loads(given("minimal"))
    del document[name]
    with pytest.raises(ValidationError):
        Feedback.model_validate_json(json.dumps(document))
