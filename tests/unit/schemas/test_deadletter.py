"""Dead letters are named by where their record stood."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from sluicegate.schemas import Origin, dead_letter_id
from support.events import origins

ORIGIN = Origin(topic="posts", partition=2, offset=17)


def test_dead_letter_ids_are_what_they_were() -> None:
    assert dead_letter_id(ORIGIN) == "8ef16177-ce10-5f4c-849d-04b8d25bb84b"
    assert UUID(dead_letter_id(ORIGIN)).version == 5


@pytest.mark.parametrize(
    "change", [{"topic": "post"}, {"partition": 21, "offset": 7}, {"partition": 3}, {"offset": 18}]
)
def test_another_place_is_another_dead_letter(change: dict[str, object]) -> None:
    assert dead_letter_id(ORIGIN.model_copy(update=change)) != dead_letter_id(ORIGIN)


@given(origin=origins)
@settings(deadline=None)
def test_a_repeat_carries_the_same_id_whatever_its_timestamp(origin: Origin) -> None:
    assert dead_letter_id(origin.model_copy(update={"timestamp_ms": 1})) == dead_letter_id(origin)


@pytest.mark.parametrize("change", [{"partition": -1}, {"offset": -1}, {"offset": 1.0}])
def test_a_place_is_counted_from_zero(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Origin.model_validate({**ORIGIN.model_dump(), **change})
