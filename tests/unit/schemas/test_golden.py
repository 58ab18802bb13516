"""Records and schemas as they were first released, read by today's code, and the other way round."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from sluicegate.schemas import (
    AssessedBy,
    DeadLetter,
    Feedback,
    Origin,
    Post,
    Resolution,
    Verdict,
    content_hash,
    dead_letter_id,
    decode_post,
    encode,
    verdict_id,
)
from support.events import dead_letters, posts, resolutions, verdicts

if TYPE_CHECKING:
    from sluicegate.schemas._fields import Event

GOLDEN = Path(__file__).parents[2] / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.glob("v*"))
MODELS: dict[str, type[Event]] = {
    "post": Post,
    "verdict": Verdict,
    "dead_letter": DeadLetter,
    "feedback": Feedback,
    "resolution": Resolution,
}
CHANGED = {"v1.0": MODELS.keys() - {"resolution"}, "v1.1": {"feedback", "resolution"}}
"""The events that were new in a version, or whose shape changed."""
RECORDS = [(kind, path) for kind in MODELS for path in sorted(GOLDEN.glob(f"*/{kind}/*.json"))]


def label(value: object) -> str:
    return f"{value.parents[1].name}/{value.stem}" if isinstance(value, Path) else str(value)


def schema(version: str, kind: str) -> Draft202012Validator:
    document = json.loads((GOLDEN / version / "schema" / f"{kind}.json").read_text())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def is_kept(old: Any, new: Any) -> bool:
    """True if ``new`` holds every value of ``old``, save the field that no model knows yet."""
    if isinstance(old, dict):
        return all(is_kept(value, new.get(name)) for name, value in old.items() if name != "arrived_later")
    if isinstance(old, list):
        return len(old) == len(new) and all(map(is_kept, old, new))
    # A moment may come back with its offset or its fraction written differently.
    return bool(old == new or datetime.fromisoformat(old) == datetime.fromisoformat(new))


def test_every_released_version_has_records_of_every_event() -> None:
    kinds = {(version, kind) for version in VERSIONS for kind in CHANGED[version]}
    assert {(path.parents[1].name, kind) for kind, path in RECORDS} == kinds


@pytest.mark.parametrize(("kind", "path"), RECORDS, ids=label)
def test_an_old_record_is_read_by_todays_models_with_every_value_kept(kind: str, path: Path) -> None:
    event = MODELS[kind].model_validate_json(path.read_bytes())
    assert is_kept(json.loads(path.read_text()), json.loads(encode(event)))


@pytest.mark.parametrize(
    ("kind", "path"), [(kind, path) for kind, path in RECORDS if kind == "post"], ids=label
)
def test_an_old_post_is_taken_from_the_topic(kind: str, path: Path) -> None:
    decoded = decode_post(path.read_bytes())
    assert isinstance(decoded, Post)
    assert decoded == Post.model_validate_json(path.read_bytes())


@pytest.mark.parametrize(("kind", "path"), RECORDS, ids=label)
def test_an_old_record_fits_the_schema_of_its_version(kind: str, path: Path) -> None:
    version = path.parents[1].name
    assert list(schema(version, kind).iter_errors(json.loads(path.read_text()))) == []


@pytest.mark.parametrize(
    "name",
    ["allowed", "response_with_refusal", "could_not_be_scored", "explanation_failed", "block_withheld"],
)
def test_an_old_verdict_would_get_the_same_id_today(name: str) -> None:
    verdict = Verdict.model_validate_json((GOLDEN / "v1.0" / "verdict" / f"{name}.json").read_bytes())
    source = "response_to_a_prompt" if name == "response_with_refusal" else "minimal"
    post = Post.model_validate_json((GOLDEN / "v1.0" / "post" / f"{source}.json").read_bytes())
    assert content_hash(post) == verdict.content_hash
    assert (verdict.assessed_by is AssessedBy.NONE) == verdict.outcome.startswith("failure:")
    assert verdict.verdict_id == verdict_id(
        post,
        content=verdict.content_hash,
        policy_digest=verdict.policy.digest,
        engine=verdict.engine,
        outcome=verdict.outcome,
        action=verdict.action,
    )


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*/dead_letter/*.json")), ids=lambda path: path.stem)
def test_an_old_dead_letter_would_get_the_same_id_today(path: Path) -> None:
    letter = DeadLetter.model_validate_json(path.read_bytes())
    assert letter.dead_letter_id == dead_letter_id(Origin.model_validate(letter.origin.model_dump()))


OLDEST = VERSIONS[:1]
"""The only version that they have."""


@given(event=resolutions)
@settings(max_examples=60, deadline=None)
def test_every_resolution_of_today_fits_the_old_schema(event: Event) -> None:
    found = schema("v1.1", "resolution").iter_errors(json.loads(encode(event)))
    assert [error.message for error in found] == []


@pytest.mark.parametrize("version", OLDEST)
@given(event=posts)
@settings(max_examples=60, deadline=None)
def test_every_post_of_today_fits_the_old_schema(version: str, event: Event) -> None:
    assert [error.message for error in schema(version, "post").iter_errors(json.loads(encode(event)))] == []


@pytest.mark.parametrize("version", OLDEST)
@given(event=verdicts)
@settings(max_examples=60, deadline=None)
def test_every_verdict_of_today_fits_the_old_schema(version: str, event: Event) -> None:
    assert [
        error.message for error in schema(version, "verdict").iter_errors(json.loads(encode(event)))
    ] == []


@pytest.mark.parametrize("version", OLDEST)
@given(event=dead_letters)
@settings(max_examples=60, deadline=None)
def test_every_dead_letter_of_today_fits_the_old_schema(version: str, event: Event) -> None:
    found = schema(version, "dead_letter").iter_errors(json.loads(encode(event)))
    assert [error.message for error in found] == []


@given(event=posts)
@settings(max_examples=60, deadline=None)
def test_every_post_survives_the_way_through_bytes(event: Post) -> None:
    assert decode_post(encode(event)) == event


@given(event=verdicts | dead_letters | resolutions)
@settings(max_examples=60, deadline=None)
def test_every_event_survives_the_way_through_bytes_on_one_line(event: Event) -> None:
    line = encode(event)
    assert b"\n" not in line
    assert type(event).model_validate_json(line) == event
