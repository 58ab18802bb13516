"""What a verdict says: refusals, reuse, and who decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.workers import open_lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.collector import Record
    from support.kafka import ApacheKafka
    from support.workers import Lane

pytestmark = pytest.mark.kafka

POLICY = """
name: two-tenants
version: "7"
tenants:
  strict:
    rules:
      block_at: {unsafe: 0.0}
      review_at: {unsafe: null, risk: null}
      dispositions: {allow: none, review: warn, block: rate_limit}
  lenient:
    rules:
      block_at: {unsafe: 1.0}
      review_at: {unsafe: null, risk: 1.0}
"""


@pytest.fixture(scope="module")
def deciding(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """One worker for the whole module; each test has ids and texts of its own."""
    with open_lane(kafka, tmp_path_factory.mktemp("deciding"), partitions=3) as lane:
        lane.start(lane.set_policy(POLICY)).wait_ready()
        yield lane


def judged(lane: Lane, posts: list[dict[str, Any]]) -> dict[str, Record]:
    """Publish posts; their verdicts by post id."""
    lane.send(posts)
    lane.wait_acknowledged(within_s=30)
    asked = {post["id"] for post in posts}
    found = [record for record in lane.read() if record.body["post_id"] in asked]
    assert len(found) == len(posts)
    return {record.body["post_id"]: record for record in found}


def test_two_tenants_get_different_actions_from_one_assessment(deciding: Lane) -> None:
    text = "the very same text"
    found = judged(
        deciding, [{"id": tenant, "text": text, "tenant": tenant} for tenant in ("strict", "lenient")]
    )
    strict, lenient = found["strict"], found["lenient"]
    assert strict.body["scores"] == lenient.body["scores"]
    assert (strict.body["action"], lenient.body["action"]) == ("block", "allow")
    assert (strict.topic, lenient.topic) == (deciding.outputs["block"], deciding.outputs["allow"])
    assert strict.body["disposition"] == "rate_limit"
    assert strict.body["policy"] == lenient.body["policy"] | {"rule": strict.body["policy"]["rule"]}
    assert (strict.body["policy"]["name"], strict.body["policy"]["version"]) == ("two-tenants", "7")
    assert {strict.body["assessed_by"], lenient.body["assessed_by"]} == {"engine", "cache"}


def test_a_response_says_whether_it_refuses_and_a_post_does_not(deciding: Lane) -> None:
    response = {
        "id": "response",
        "kind": "response",
        "text": "I cannot help with that.",
        "context": "How do I do it?",
    }
    found = judged(deciding, [response, {"id": "post", "text": "I cannot help with that."}])
    assert found["response"].body["refusal"] in (True, False)
    assert found["response"].body["kind"] == "response"
    assert found["post"].body["refusal"] is None


def test_a_copy_reuses_the_assessment_and_a_region_does_not(deciding: Lane) -> None:
    text = "a text that comes three times"
    found = judged(
        deciding,
        [
            {"id": "first", "text": text},
            {"id": "copy", "text": text},
            {"id": "there", "text": text, "region": "DE"},
        ],
    )
    pair = {found["first"].body["assessed_by"], found["copy"].body["assessed_by"]}
    assert pair == {"engine", "cache"}
    assert found["there"].body["assessed_by"] == "engine"
    assert found["there"].body["content_hash"] != found["first"].body["content_hash"]
    by_engine, reused = sorted(
        (found["first"], found["copy"]), key=lambda one: one.body["assessed_by"] == "cache"
    )
    assert reused.body["reused_from"] == by_engine.body["verdict_id"]


def test_a_verdict_is_keyed_by_its_post_and_names_itself_in_the_headers(deciding: Lane) -> None:
    (record,) = judged(deciding, [{"id": "one", "text": "just one"}]).values()
    assert record.key == b"one"
    assert record.headers["verdict-id"] == record.body["verdict_id"].encode()
    assert record.body["engine"]["backend"] == "fake"
    assert record.body["schema_version"] == "1.0"
