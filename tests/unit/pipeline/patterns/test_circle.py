"""The circle's file: its key is kept, and it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns.circle import new_circle, read_circle
from unit.pipeline.patterns.circles import CIRCLE, NORTH, TODAY, circle_with, days, write_circle

if TYPE_CHECKING:
    from pathlib import Path


def test_a_circle_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_circle(write_circle(tmp_path) / "circle.json") == CIRCLE


def test_its_key_is_in_no_representation() -> None:
    secret = CIRCLE.keys[0].secret.get_secret_value()
    assert secret not in repr(CIRCLE)
    assert secret not in CIRCLE.model_dump_json()


def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = write_circle(tmp_path) / "circle.json"
    path.chmod(0o644)
    with pytest.raises(PatternError, match="chmod"):
        read_circle(path)


def test_a_fault_does_not_quote_the_secret(tmp_path: Path) -> None:
    path = write_circle(tmp_path) / "circle.json"
    path.write_bytes(path.read_bytes().replace(b'"secret": "', b'"secret": "x'))
    with pytest.raises(PatternError) as told:
        read_circle(path)
    assert CIRCLE.keys[0].secret.get_secret_value() not in str(told.value)
    assert told.value.__cause__ is None


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PatternError, match="put the circle's file there"):
        read_circle(tmp_path / "circle.json")


def test_the_newest_key_makes_patterns_and_an_expired_one_nothing() -> None:
    old = CIRCLE.keys[0].model_copy(update={"id": "old", "last_day": days(3)})
    both = circle_with(keys=(old, CIRCLE.keys[0]))
    assert both.newest_key(TODAY).id == CIRCLE.keys[0].id
    assert both.key("old", days(4)) is None
    with pytest.raises(PatternError, match="expired"):
        both.newest_key(days(100))


@pytest.mark.parametrize(("name", "k"), [("Alps", 5), ("../x", 5), ("alps", 2)])
def test_a_name_or_a_number_that_is_none_is_refused(name: str, k: int) -> None:
    with pytest.raises(PatternError, match="no circle"):
        new_circle(name, {"north": NORTH[1]}, k=k, licence="x", today=TODAY)
