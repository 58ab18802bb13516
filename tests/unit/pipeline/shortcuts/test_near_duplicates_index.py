from __future__ import annotations

import os
import tracemalloc
from uuid import uuid4

import orjson
import pytest

from sluicegate.pipeline.flow.decision import assess
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.shortcuts.near_duplicates import Index, KnownText, is_sure
from sluicegate.schemas import Assessment, FailureCode, Post, Scores

BUILT_IN = Policy.load(None)
POST = Post(id="p", text="x")


def known(number: int = 0, *, expires_at: float = 10.0, reason: str | None = None) -> KnownText:
    finding = assess(Scores(safe=1, controversial=0, unsafe=0), None)
    return KnownText(finding.model_copy(update={"reason": reason}), str(number), expires_at)


def test_the_least_recently_used_goes_first() -> None:
    index = Index(2, 2**20)
    index.put(b"a", known(1))
    index.put(b"b", known(2))
    assert index.get(b"a", 0) == known(1)
    index.put(b"c", known(3))
    assert (index.get(b"b", 0), len(index)) == (None, 2)


def test_neither_bound_is_passed() -> None:
    index = Index(1000, 20_000)
    for number in range(300):
        index.put(number.to_bytes(2), known(number, reason="x" * (number % 400)))
        assert 0 < index.size_bytes <= 20_000
    assert 0 < len(index) < 20
    for number in range(300):
        index.put(b"the same", known(number))
    kept = sum(one.size_bytes for key in range(300) if (one := index.get(key.to_bytes(2), 0)))
    assert index.size_bytes == kept + known().size_bytes


def test_a_finding_expires_however_often_it_is_asked_for() -> None:
    index = Index(10, 2**20)
    index.put(b"a", known(expires_at=10))
    assert all(index.get(b"a", now) for now in (0.0, 5.0, 9.9))
    assert index.get(b"a", 10.0) is None
    assert (len(index), index.size_bytes) == (0, 0)


def scores(safe: float, controversial: float) -> Scores:
    return Scores(safe=safe, controversial=controversial, unsafe=1 - safe - controversial)


@pytest.mark.parametrize(
    ("safe", "controversial", "sure"),
    [(0.97, 0.02, True), (0.02, 0.97, True), (0.01, 0.02, True), (0.85, 0.1, False), (0.4, 0.3, False)],
)
def test_sure_is_what_has_one_severity_and_stands_away_from_every_threshold(
    safe: float, controversial: float, sure: bool
) -> None:
    assert is_sure(POST, assess(scores(safe, controversial), None), BUILT_IN, least=0.9) is sure


def test_a_threshold_near_the_score_makes_it_unsure() -> None:
    strict = Policy.parse(
        {"name": "p", "version": "1", "rules": {"review_at": {"unsafe": 0.4, "risk": 0.05}}}
    )
    near, far = scores(0.97, 0.02), scores(0.0, 0.001)
    assert is_sure(POST, assess(near, None), BUILT_IN, least=0.9)
    assert not is_sure(POST, assess(near, None), strict, least=0.9)
    assert is_sure(POST, assess(far, None), strict, least=0.9)


def test_a_finding_whose_explanation_failed_is_unsure() -> None:
    finding = assess(scores(0, 0), None).model_copy(update={"explanation_failure": FailureCode.TIMED_OUT})
    assert not is_sure(POST, finding, BUILT_IN, least=0.9)


@pytest.mark.parametrize("scores", [0, 9])
def test_the_bytes_that_are_counted_of_findings_are_those_that_are_taken(scores: int) -> None:
    def finding() -> KnownText:
        text = orjson.dumps(
            {
                "scores": {"safe": 1.0, "controversial": 0.0, "unsafe": 0.0},
                "severity": "safe",
                "assessed_by": "engine",
                **({"explained": True, "categories": ["category 1"]} if scores else {}),
                "category_scores": {f"category {number}": 0.1 + number / 100 for number in range(scores)},
            }
        )
        return KnownText(Assessment.model_validate_json(text), str(uuid4()), 1.5)

    index = Index(10_000, 2**30)
    index.put(b"a", finding())
    tracemalloc.start()
    try:
        for _ in range(3_000):
            index.put(os.urandom(24), finding())
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken <= index.size_bytes <= 1.35 * taken
