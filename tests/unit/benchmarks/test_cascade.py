"""The cascade's arithmetic: a lower bar leaves the large guard less, and nothing is answered by nobody."""

from __future__ import annotations

import asyncio

import pytest

from cascade.study import SMALL, cost, table
from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.schemas import Post

POSTS = [Post(id=f"p{number}", text=f"hello number {number} " * 3, language="en") for number in range(120)]


def test_the_large_guard_reads_what_the_small_one_leaves() -> None:
    alone, few, many = (asyncio.run(cost(POSTS, bar)) for bar in (None, 0.95, 0.75))
    assert (alone.answered, alone.small_s) == (0.0, 0.0)
    assert 0 < few.answered < many.answered < 1
    assert alone.large_s > few.large_s > many.large_s > 0
    assert few.small_s == pytest.approx(many.small_s)
    assert 0 < many.small_s < alone.large_s
    assert table([alone, many], 2 * alone.large_s).count("0.500") == 1


def test_the_small_guard_finds_what_the_large_one_finds() -> None:
    assert FakeEngine(SMALL).info.digest == FakeEngine().info.digest
