"""Schedules: what comes to the owner of all posts in work, in any order."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz.target import Target
from unit.pipeline.flow.schedules import Schedule


def _check(steps: bytes) -> None:
    Schedule(steps).run()


TARGETS = (Target("schedules", st.binary(max_size=400), _check),)
