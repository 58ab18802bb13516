"""Verdict ids, content hashes, and what a verdict cannot say."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.schemas import (
    Action,
    AssessedBy,
    EngineRef,
    Failure,
    FailureCode,
    PolicyRef,
    Post,
    Scores,
    Timings,
    Turn,
    Verdict,
    content_hash,
    verdict_id,
)
from support.events import engines, posts

POST = Post(id="a-1", text="Good morning, neighbours.", region="DE", language="de")
ENGINE = EngineRef(
    digest="sha256:" + "e" * 64, backend="fake", model="fake", layout_digest="sha256:" + "1" * 64
)
POLICY = PolicyRef(name="default", version="1", digest="sha256:" + "d" * 64, rule="safe")


def identity(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "post": POST,
        "content": content_hash(POST),
        "policy_digest": POLICY.digest,
        "engine": ENGINE,
        "outcome": "judged",
        "action": Action.ALLOW,
    }
    facts |= changes
    return verdict_id(facts.pop("post"), **facts)


def verdict(**changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "verdict_id": identity(),
        "post_id": POST.id,
        "revision": 0,
        "tenant": "default",
        "kind": "post",
        "content_hash": content_hash(POST),
        "action": Action.ALLOW,
        "disposition": "none",
        "severity": "safe",
        "scores": Scores(safe=0.9, controversial=0.1, unsafe=0),
        "assessed_by": AssessedBy.ENGINE,
        "policy": POLICY,
        "engine": ENGINE,
        "timings": Timings(queued_ms=1, engine_ms=1, total_ms=2),
        "judged_at": datetime(2026, 3, 1, tzinfo=UTC),
    }
    return Verdict.model_validate({**fields, **changes})


def test_content_hashes_are_what_they_were() -> None:
    record = '["Good morning, neighbours.","post",[],"DE","de"]'
    assert content_hash(POST) == f"sha256:{hashlib.sha256(record.encode()).hexdigest()}"
    assert content_hash(POST) == "sha256:797b7df42f5a17037d9eeb61dbdc4b12e287e3db95e48a353132365b74e8d7b6"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "ecffd2de-4a90-5a6e-8dd0-bc365cedbdc7"),
        ({"action": Action.BLOCK}, "08737518-2452-5347-9753-b21a76d5e164"),
        ({"outcome": "failure:timed_out", "action": Action.REVIEW}, "1ac8857e-a204-53cd-acaa-ccf75e2782b4"),
        (
            {"engine": ENGINE.model_copy(update={"adapter": "guard-1"})},
            "95ce8dfc-7cba-5b66-acb6-1070c06332bc",
        ),
    ],
)
def test_verdict_ids_are_what_they_were(changes: dict[str, Any], expected: str) -> None:
    assert identity(**changes) == expected
    assert UUID(expected).version == 5


@given(posts, engines, st.sampled_from(Action))
def test_an_id_is_a_uuid5_of_what_makes_the_verdict(post: Post, engine: EngineRef, action: Action) -> None:
    parts = [
        *(post.tenant, post.id, post.revision, "sha256:0", POLICY.digest),
        *(engine.digest, engine.adapter, "judged", action.value),
    ]
    namespace = UUID("5f0e9c0e-9d0b-5b7e-8a50-9f1f1f3f6c11")
    expected = str(uuid5(namespace, orjson.dumps(parts).decode()))
    assert identity(post=post, content="sha256:0", engine=engine, action=action) == expected


@given(posts)
def test_a_content_hash_is_of_the_turns_whatever_form_the_context_has(post: Post) -> None:
    turns = [[turn.role, turn.text] for turn in post.turns]
    record = orjson.dumps([post.text, post.kind, turns, post.region, post.language])
    assert content_hash(post) == f"sha256:{hashlib.sha256(record).hexdigest()}"


@pytest.mark.parametrize(
    "changes",
    [
        {"post": POST.model_copy(update={"tenant": "school"})},
        {"post": POST.model_copy(update={"id": "a-2"})},
        {"post": POST.model_copy(update={"revision": 1})},
        {"content": content_hash(POST.model_copy(update={"text": "!"}))},
        {"policy_digest": "sha256:" + "c" * 64},
        {"engine": ENGINE.model_copy(update={"digest": "sha256:" + "f" * 64})},
        {"engine": ENGINE.model_copy(update={"adapter": "guard-1"})},
        {"engine": ENGINE.model_copy(update={"adapter": ""})},
        {"outcome": "breaker"},
        {"outcome": "failure:internal"},
        {"action": Action.REVIEW},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_everything_that_makes_a_verdict_this_one_changes_its_id(changes: dict[str, Any]) -> None:
    assert identity(**changes) != identity()


def test_what_does_not_make_a_verdict_this_one_leaves_its_id() -> None:
    other = POST.model_copy(update={"author_id": "b", "metadata": {"a": 1}, "created_at": datetime.now(UTC)})
    assert identity(post=other, content=content_hash(other)) == identity()
    renamed = ENGINE.model_copy(update={"backend": "completions", "model": "another name"})
    assert identity(engine=renamed) == identity()


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "Good morning, neighbours!"},
        {"kind": "prompt"},
        {"context": "Why?"},
        {"region": "AT"},
        {"region": None},
        {"language": "en"},
        {"language": None},
    ],
    ids=str,
)
def test_everything_that_is_judged_changes_the_content_hash(changes: dict[str, Any]) -> None:
    assert content_hash(POST.model_copy(update=changes)) != content_hash(POST)


def test_a_plain_context_hashes_as_the_turn_it_means() -> None:
    plain = POST.model_copy(update={"context": "Why?"})
    assert content_hash(plain) == content_hash(
        POST.model_copy(update={"context": (Turn(role="user", text="Why?"),)})
    )
    other = POST.model_copy(update={"context": (Turn(role="assistant", text="Why?"),)})
    assert content_hash(plain) != content_hash(other)


def test_no_character_can_move_from_one_field_to_the_next() -> None:
    def hashed(*turns: tuple[Any, str], text: str = "t") -> str:
        return content_hash(
            Post(id="a", text=text, context=tuple(Turn(role=role, text=said) for role, said in turns))
        )

    user, assistant = "user", "assistant"
    alike = [
        hashed((user, "a"), (user, "b")),
        hashed((user, 'a"],["user","b')),
        hashed((user, "ab")),
        hashed((user, "a"), (assistant, "b")),
        hashed((user, "b"), (user, "a")),
        hashed((user, "a"), text='t","post",[["user","b"]]'),
    ]
    assert len(set(alike)) == len(alike)


@given(one=posts, other=posts)
@settings(deadline=None)
def test_equal_hashes_mean_equal_content(one: Post, other: Post) -> None:
    def judged(post: Post) -> tuple[object, ...]:
        return post.text, post.kind, post.turns, post.region, post.language

    assume(judged(one) != judged(other))
    assert content_hash(one) != content_hash(other)
    assert content_hash(other.model_copy(update={"id": "x", "tenant": "y"})) == content_hash(other)


FAILED = {
    "severity": None,
    "scores": None,
    "assessed_by": AssessedBy.NONE,
    "failure": Failure(code=FailureCode.TIMED_OUT, mode=Action.REVIEW),
}


@pytest.mark.parametrize(
    "changes",
    [
        {"severity": None},
        {"scores": None},
        {"severity": None, "scores": None},
        {"severity": None, "scores": None, "assessed_by": AssessedBy.NONE},
        {"assessed_by": AssessedBy.NONE},
        {**FAILED, "severity": "safe"},
        {**FAILED, "scores": Scores(safe=1, controversial=0, unsafe=0)},
        {**FAILED, "severity": "safe", "scores": Scores(safe=1, controversial=0, unsafe=0)},
        {**FAILED, "assessed_by": AssessedBy.CACHE},
    ],
)
def test_a_failure_never_has_a_severity_and_a_judgement_always_has(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        verdict(**changes)


def test_the_outcome_tells_a_judgement_from_a_failure() -> None:
    assert verdict().outcome == "judged"
    assert verdict(**FAILED).outcome == "failure:timed_out"


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.1])
def test_a_timing_is_a_number_of_milliseconds(value: float) -> None:
    with pytest.raises(ValidationError):
        Timings(queued_ms=value, engine_ms=0, total_ms=0)


def test_a_verdict_has_no_field_for_the_text() -> None:
    assert not {"text", "context", "metadata"} & Verdict.model_fields.keys()
