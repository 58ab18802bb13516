"""The generated files are current, valid and complete."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from sluicegate.pipeline.records import dead_letter_record, verdict_record
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import DeadLetter, Post, Verdict
from sluicegate.schemas.codec import POST_BYTES
from sluicegate.schemas.export import FOLDER, TOPICS, asyncapi, drift, generate, json_schema, main, write
from support.events import made_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parents[2] / "golden" / "v1.0"
CONTRACT = " ".join((Path(__file__).parents[3] / "docs" / "contract.md").read_text().split())
EVENTS = ["post", "verdict", "dead_letter", "feedback", "resolution"]
PARSED: dict[str, Any] = yaml.safe_load(generate()["asyncapi.yaml"])


def test_the_committed_files_are_what_the_models_say() -> None:
    assert drift() == []
    assert main(["--check"]) == 0


def test_generating_twice_gives_the_same_bytes() -> None:
    assert generate() == generate()


def test_a_changed_a_missing_and_a_stray_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    assert drift(tmp_path) == []
    (tmp_path / "json" / "post.json").write_text("{}")
    (tmp_path / "json" / "stray.json").write_text("{}")
    (tmp_path / "asyncapi.yaml").unlink()
    assert drift(tmp_path) == ["asyncapi.yaml", "json/post.json", "json/stray.json"]
    monkeypatch.setattr("sluicegate.schemas.export.drift", lambda: ["json/post.json"])
    assert main(["--check"]) == 1
    assert "schemas/json/post.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", EVENTS)
def test_each_schema_is_a_schema(name: str) -> None:
    schema = json_schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_a_schema_says_what_is_required_and_refuses_no_unknown_field() -> None:
    assert json_schema("post")["required"] == ["id", "text"]
    required = {name for name, field in Verdict.model_fields.items() if field.is_required()}
    assert set(json_schema("verdict")["required"]) == required
    for name in EVENTS:
        assert "additionalProperties" not in json_schema(name)
        Draft202012Validator(json_schema("post")).validate({"id": "a", "text": "t", "later": 1})


def test_every_limit_of_a_post_is_in_its_schema() -> None:
    validator = Draft202012Validator(json_schema("post"))
    broken: list[dict[str, Any]] = [
        {"id": "x" * 257},
        {"id": "a\u202e"},
        {"text": ""},
        {"kind": "image"},
        {"context": []},
        {"context": [{"role": "user", "text": "t"}] * 65},
        {"tenant": "a b"},
        {"language": "en_GB"},
        {"region": "de"},
        {"created_at": "2026-03-01T08:30:00"},
        {"revision": -1},
        {"metadata": {"a": {}}},
        {"metadata": {str(n): n for n in range(33)}},
        {"metadata": {"k" * 65: 1}},
    ]
    passing = [fields for fields in broken if validator.is_valid({"id": "a", "text": "t", **fields})]
    assert passing == []
    with_all = [fields for fields in broken if _accepts({"id": "a", "text": "t", **fields})]
    assert with_all == []


def _accepts(document: dict[str, Any]) -> bool:
    try:
        Post.model_validate(document)
    except ValueError:
        return False
    return True


def test_the_asyncapi_document_has_the_parts_that_version_3_requires() -> None:
    assert asyncapi() == PARSED
    assert PARSED["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= PARSED["info"].keys()
    assert PARSED["info"]["license"].keys() == {"name", "url"}
    assert PARSED["channels"].keys() == TOPICS.keys()
    for operation in PARSED["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"].keys() == {"$ref"}
    for message in PARSED["components"]["messages"].values():
        Draft202012Validator.check_schema(message["headers"])
        assert message["payload"].keys() == {"schemaFormat", "schema"}


def test_posts_are_received_and_the_rest_is_sent() -> None:
    directions = {
        operation["channel"]["$ref"].rpartition("/")[2]: operation["action"]
        for operation in PARSED["operations"].values()
    }
    assert directions == {
        "posts": "receive",
        "allow": "send",
        "review": "send",
        "block": "send",
        "dead_letter": "send",
        "resolutions": "send",
        "feedback": "send",
    }


def test_every_channel_and_message_says_what_kafka_needs() -> None:
    for channel in PARSED["channels"].values():
        assert channel["bindings"]["kafka"]["topic"] == channel["address"]
    for message in PARSED["components"]["messages"].values():
        assert message["bindings"]["kafka"]["key"]["type"] == "string"


def test_the_headers_are_those_that_the_pipeline_writes() -> None:
    trace = {"traceparent": "00-1", "tracestate": "a=b"}
    delivery = SimpleNamespace(headers=[(name, value.encode()) for name, value in trace.items()], key=b"k")
    topics: Any = TopicSettings()
    verdict = made_of(Verdict.model_validate_json((GOLDEN / "verdict" / "allowed.json").read_bytes()))
    letter = DeadLetter.model_validate_json((GOLDEN / "dead_letter" / "not_json.json").read_bytes())
    written = {
        "verdict": verdict_record(verdict, delivery, topics),
        "dead_letter": dead_letter_record(letter, delivery, topics),
    }
    for name, record in written.items():
        assert (
            PARSED["components"]["messages"][name]["headers"]["properties"].keys()
            == dict(record.headers).keys()
        )


@pytest.mark.parametrize("header", ["traceparent", "tracestate"])
def test_a_trace_header_is_carried_up_to_the_length_that_the_contract_names(header: str) -> None:
    topics: Any = TopicSettings()
    verdict = made_of(Verdict.model_validate_json((GOLDEN / "verdict" / "allowed.json").read_bytes()))
    described = PARSED["components"]["messages"]
    most = described["verdict"]["headers"]["properties"][header]["maxLength"]
    assert described["dead_letter"]["headers"]["properties"][header]["maxLength"] == most

    def carried(length: int) -> bool:
        delivery: Any = SimpleNamespace(headers=[(header, b"x" * length)], key=b"k")
        return header in dict(verdict_record(verdict, delivery, topics).headers)

    assert (carried(most), carried(most + 1)) == (True, False)
    assert f"more than {most} bytes is left out" in CONTRACT
    for name in ("traceparent", "tracestate"):
        assert "maxLength" not in described["post"]["headers"]["properties"][name]  # none is refused


def test_the_limit_of_bytes_is_said_of_the_value_wherever_it_stands() -> None:
    for said in (f"A record's value may have {POST_BYTES:,} bytes", "key and headers do not count"):
        assert said in CONTRACT
    assert f"the value of a record it has at most {POST_BYTES:,} bytes" in json_schema("post")["description"]
    described = PARSED["components"]["messages"]["post"]["description"]
    assert f"The value has at most {POST_BYTES} bytes" in described
    assert "Key and headers do not count" in described


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document: dict[str, Any], pointer: str) -> Any:
    node: Any = document
    for part in pointer.strip("/").split("/"):
        node = node[part]
    return node


def test_every_reference_leads_somewhere() -> None:
    found = set(references(PARSED))
    assert len(found) > len(EVENTS)
    for reference in found:
        file, _, pointer = reference.partition("#")
        if file:
            assert json.loads((FOLDER / file).read_text())["type"] == "object"
        else:
            assert resolve(PARSED, pointer)
    for name in EVENTS:
        schema = json_schema(name)
        for reference in references(schema):
            assert resolve(schema, reference.removeprefix("#"))


def test_the_topics_are_the_workers_default_ones() -> None:
    # Between the members of a circle: no contract with anybody else.
    settings = TopicSettings().model_dump(exclude={"patterns"})
    assert settings == {name: facts[0] for name, facts in TOPICS.items()}
