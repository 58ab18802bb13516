"""Which form of the text decided, on a verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from sluicegate.schemas import Verdict
from support.events import verdicts


def changed(verdict: Verdict, **fields: Any) -> Verdict:
    return Verdict.model_validate_json(verdict.model_copy(update=fields).model_dump_json())


@settings(max_examples=30)
@given(verdicts)
def test_the_form_is_folded_exactly_where_rules_are_named(verdict: Verdict) -> None:
    assert (verdict.form == "folded") == bool(verdict.form_rules)
    other = {"form": "original"} if verdict.form_rules else {"form": "folded"}
    with pytest.raises(ValidationError, match="rules stand exactly"):
        changed(verdict, **other)


@settings(max_examples=30)
@given(verdicts)
def test_a_folded_form_may_decide_by_its_scores_and_by_its_failure(verdict: Verdict) -> None:
    found = changed(verdict, form="folded", form_rules=("a_rule_of_tomorrow",))
    assert found.form_rules == ("a_rule_of_tomorrow",)
