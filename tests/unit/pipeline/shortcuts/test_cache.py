from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.engines.protocol import Prompt
from sluicegate.pipeline.shortcuts.cache import AssessmentCache, Stored, cache_key
from sluicegate.schemas import AssessedBy, Assessment, Post, Scores

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
    cache = AssessmentCache(2)
    cache.put(b"a", stored(1))
    cache.put(b"b", stored(2))
    assert cache.get(b"a") == stored(1)
    cache.put(b"c", stored(3))
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert len(cache) == 2


@pytest.mark.parametrize("entries", [0, 1, 5])
def test_the_cache_never_grows_beyond_its_bound(entries: int) -> None:
    cache = AssessmentCache(entries)
    for number in range(20):
        cache.put(bytes([number]), stored(number))
        assert len(cache) <= entries
