"""Limits: a file over the built-in one, and what cannot be a limit."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sluicegate.engines.adapt.gate.checks import GROUPS
from sluicegate.engines.adapt.gate.limits import GateLimits, built_in_text


def test_an_empty_file_is_the_built_in_one() -> None:
    assert (
        GateLimits.over_built_in(None)
        == GateLimits.over_built_in({})
        == GateLimits.over_built_in(yaml.safe_load(built_in_text()))
    )
    assert GateLimits.over_built_in(None).always.well_formed_least == 1.0
    assert {*GROUPS, "overall", "always"} == set(GateLimits.model_fields)


def test_a_file_changes_what_it_names_alone() -> None:
    built_in = GateLimits.over_built_in(None)
    mine = GateLimits.over_built_in({"language": {"macro_f1_drop": None, "minimum_rows": 10}})
    assert (mine.language.macro_f1_drop, mine.language.minimum_rows) == (None, 10)
    assert mine.language.harmful_recall_drop == built_in.language.harmful_recall_drop
    assert mine.overall == built_in.overall


@pytest.mark.parametrize(
    "written",
    [
        [],
        "overall",
        {"overal": {}},
        {"overall": {"macro_f1": 0.1}},
        {"overall": {"macro_f1_drop": 1.5}},
        {"overall": {"macro_f1_drop": "0.1"}},
        {"overall": {"macro_f1_drop": float("nan")}},
        {"overall": {"minimum_rows": 0}},
        {"overall": None},
        {"always": {"explained_rows_least": None}},
    ],
)
def test_what_is_no_limit_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        GateLimits.over_built_in(written)
