"""No text of a post in any log, at any level, whatever happens to the post."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.workers import until

if TYPE_CHECKING:
    from support.workers import Lane

pytestmark = pytest.mark.kafka

# Words that occur nowhere else, one in each place where an author's or a stranger's text may stand.
MARK = "zymurgist"
LIMIT_BYTES = 20_000


def test_no_outcome_of_a_post_writes_its_text_to_a_log(lane: Lane) -> None:
    lane.set_fake(max_prompt_tokens=10_000)
    worker = lane.start(
        {
            "log.level": "debug",
            "limits.post_bytes": str(LIMIT_BYTES),
            "limits.post_tokens": "16000",
            "engine.score_timeout_s": "1",
            "engine.explain_timeout_s": "1",
        }
    )
    worker.wait_ready()

    def publish(label: str) -> None:
        lane.send(
            [
                {"id": f"{label}-post", "text": f"{MARK} {label}"},
                {"id": f"{label}-prompt", "kind": "prompt", "text": f"{MARK} {label}"},
                {
                    "id": f"{label}-response",
                    "kind": "response",
                    "text": f"{MARK} {label}",
                    "context": f"{MARK}?",
                },
            ]
        )
        lane.wait_acknowledged(within_s=30)

    publish("plain")
    for fault in ("garble", "hang", "empty", "error", "labels_missing"):
        lane.set_faults(**{fault: True})
        publish(fault)
    lane.set_faults(die=True)
    lane.send([{"id": "held", "text": f"{MARK} held"}])
    until("the hold is declared", lambda: worker.metric("sluicegate_hold") == 1, within_s=30)
    lane.set_faults()
    lane.wait_acknowledged(within_s=30)

    lane.send(
        [
            f'{{"id": "x", "text": "{MARK}'.encode(),
            json.dumps({"id": "x", "text": [MARK]}).encode(),
            json.dumps({"id": "x", "kind": MARK, "text": "t"}).encode(),
            json.dumps({"id": "x", "text": "t", "metadata": {MARK: [1]}}).encode(),
            json.dumps({"id": "x", "text": MARK * LIMIT_BYTES}).encode(),
            json.dumps({"id": "in segments", "text": f"{MARK} " * 1500}).encode(),
            json.dumps({"id": "too long", "text": f"{MARK} " * 1900}).encode(),
            json.dumps({"text": MARK}).encode(),
            MARK.encode(),
            None,
        ]
    )
    lane.wait_acknowledged(within_s=30)
    worker.terminate()
    assert worker.wait(20) == 0

    answers = lane.read()
    assert {record.body["failure"]["code"] for record in answers if record.body.get("failure")} == {
        "unparsable",
        "timed_out",
        "empty_completion",
        "engine_error",
        "labels_missing",
        "too_long",
    }
    assert max(record.body["segments"]["count"] for record in answers if not record.is_dead_letter) > 1
    assert {record.body["code"] for record in answers if record.is_dead_letter} == {
        "oversize",
        "invalid_json",
        "invalid_post",
    }
    assert '"log":{"level":"debug"}' in worker.output, "the worker was not at debug"
    told = [line[:300] for line in worker.output.splitlines() if MARK in line]
    assert told == []


def test_every_line_on_standard_error_is_json_and_standard_output_stays_empty(lane: Lane) -> None:
    worker = lane.start({"log.level": "debug"})
    worker.wait_ready()
    lane.send([{"id": "one", "text": "just one"}, b"no post"])
    lane.wait_acknowledged(within_s=30)
    worker.terminate()
    assert worker.wait(20) == 0
    for line in worker.stderr.read_text().splitlines():
        assert {"event", "level", "timestamp"} <= json.loads(line).keys(), line
    assert worker.stdout.read_text() == ""
