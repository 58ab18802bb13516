from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.engines.protocol import Prompt
from sluicegate.pipeline.shortcuts.cache import AssessmentCache, Stored, cache_key
from sluicegate.schemas import AssessedBy, Assessment, Post, Scores
from sluicegate.schemas.assessment import CATEGORIES

ENGINE = FakeEngine().info


def prompt(text: str, **fields: Any) -> Prompt:
    built = fake_prompter().build(Post(id="a", text=text, **fields))
    assert isinstance(built, Prompt)
    return built


def stored(number: int) -> Stored:
    scores = Scores(safe=1, controversial=0, unsafe=0)
    return Stored(Assessment(scores=scores, severity="safe", assessed_by=AssessedBy.ENGINE), str(number))


def test_the_key_is_the_prompt_the_engine_and_its_adapter() -> None:
    base = cache_key(prompt("hello"), ENGINE)
    assert base == cache_key(prompt("hello"), ENGINE)
    others = {
        cache_key(prompt("hello!"), ENGINE),
        cache_key(prompt("hello", region="DE"), ENGINE),
        cache_key(prompt("hello", kind="prompt"), ENGINE),
        cache_key(prompt("hello"), replace(ENGINE, digest="sha256:00")),
        cache_key(prompt("hello"), replace(ENGINE, adapter="tenant-a")),
    }
    assert len(others | {base}) == 6


def test_the_least_recently_used_goes_first() -> None:
    cache = AssessmentCache(2, 2**20)
    cache.put(b"a", stored(1))
    cache.put(b"b", stored(2))
    assert cache.get(b"a") == stored(1)
    cache.put(b"c", stored(3))
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert len(cache) == 2


@pytest.mark.parametrize("entries", [0, 1, 5])
def test_the_cache_never_grows_beyond_its_bound(entries: int) -> None:
    cache = AssessmentCache(entries, 2**20)
    for number in range(20):
        cache.put(bytes([number]), stored(number))
        assert len(cache) <= entries


def explained(reason: str | None) -> Stored:
    return Stored(
        Assessment(
            scores=Scores(safe=0.1234567890123456, controversial=0.2, unsafe=0.6765432109876544),
            severity="unsafe",
            assessed_by=AssessedBy.ENGINE,
            explained=True,
            categories=("Violent",),
            category_scores=dict.fromkeys(CATEGORIES, 0.1111111111111111),
            reason=reason,
            refusal=False,
        ),
        None,
        how="shared",
    )


@pytest.mark.parametrize("kept", [stored(1), explained(None), explained("É" * 150)])
def test_what_is_kept_comes_back_as_it_was(kept: Stored) -> None:
    cache = AssessmentCache(2, 2**20)
    cache.put(b"a", kept)
    assert cache.get(b"a") == kept
    assert b"a" in cache
    assert b"b" not in cache


@pytest.mark.parametrize("kept", [stored(1), explained(None), explained("e" * 150)])
def test_the_bytes_that_are_counted_are_those_that_are_taken(kept: Stored) -> None:
    cache = AssessmentCache(10_000, 2**30)
    cache.put(b"a", kept)
    tracemalloc.start()
    try:
        for _ in range(5_000):
            cache.put(os.urandom(24), kept)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The allocator's own loss, which tracemalloc does not see, was measured at up to three tenths.
    assert taken <= cache.size_bytes <= 1.35 * taken


def test_the_cache_never_takes_more_bytes_than_it_may() -> None:
    cache = AssessmentCache(1_000, 2**16)
    for number in range(500):
        cache.put(bytes([number % 256]), explained("e" * (number % 400)))
        assert cache.size_bytes <= 2**16
    assert 20 < len(cache) < 100
    for key in list(cache._stored):
        cache._drop(key)
    assert cache.size_bytes == 0  # what was replaced is not counted twice
