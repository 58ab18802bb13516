"""Records that others write: posts, their headers, dead letters, facts of the control topic, findings in Redis."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from hypothesis import strategies as st

from fuzz.mutations import json_like
from fuzz.target import Target
from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.pipeline.dead_letters import Original, ReplayNote, line, original, page, summary
from sluicegate.pipeline.facts import read_fact
from sluicegate.pipeline.flow.decision import bury
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.records import cut, dead_letter_record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.redis_cache import unpacked
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import DeadLetter, Post, ReasonCode, Rejection, Verdict, codec, decode_post, encode
from unit.pipeline.fakes import MemoryDelivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.pipeline.records import Delivery

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_TOPICS = Settings().topics
_KEPT_BYTES = 256
_PROMPTER = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=4096)
_DIGEST = f"sha256:{'0' * 64}"

_POSTS: list[Any] = [
    {"id": "p1", "text": "Hello"},
    {
        "id": "p2",
        "text": "Grüße, 世界 😀",
        "kind": "response",
        "context": [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}],
        "tenant": "school",
        "author_id": "a-1",
        "language": "zh-Hant",
        "region": "US-CA",
        "created_at": "2026-01-02T03:04:05.678+01:00",
        "revision": 3,
        "metadata": {"channel": "news", "score": 1.5, "pinned": True, "parent": None},
    },
    {"id": "p3", "text": "x", "kind": "prompt", "context": "earlier"},
]


def _without_numbers(detail: str) -> str:
    return re.sub(r"[0-9]+", "N", detail)


_FORMS = {name: form for name, form in codec._FORMS.items() if name != "role"}
_DETAILS = set(
    map(
        _without_numbers,
        (
            "the value has 1 bytes; the limit is 1",
            "the record must be a JSON object",
            "not JSON: it begins with a byte order mark",
            "not JSON: it is not UTF-8 from byte 1 on",
            "not JSON at character 1",
            *(f"not JSON at character 1: {cause}" for cause in codec._CAUSES.values()),
            *(f"{name}: {form}" for name, form in _FORMS.items()),
            *(f"{name}: missing" for name in ("id", "text", "context.0.role", "context.0.text")),
            *(f"context.0.{name}: {codec._FORMS[name]}" for name in ("role", "text")),
            f"context.0: {codec._TURN}",
            f"metadata: {codec._ENTRY_NAME}",
            f"metadata: {codec._ENTRY_VALUE}",
        ),
    )
)
"""Everything that a rejection can say. Numbers are positions and limits."""


def check_post(raw: bytes) -> None:
    """Any bytes are a post that survives its own encoding, or a dead letter that does."""
    found = decode_post(raw)
    if isinstance(found, Post):
        assert decode_post(encode(found), limit_bytes=10 * len(raw) + 4096) == found
        assert isinstance(_PROMPTER.build(found), Prompt | ItemFailure)
        return
    assert _without_numbers(found.detail) in _DETAILS  # of the record itself not one word
    check_burial(MemoryDelivery(7, raw, key=raw[:2000], headers=(("traceparent", raw[:600]),)), found)


def check_burial(delivery: Delivery, rejection: Rejection) -> None:
    """A dead letter can be made, read, cut to nothing, and undone where it is whole."""
    letter = bury(delivery, rejection, payload_bytes=_KEPT_BYTES, now=_NOW)
    assert DeadLetter.model_validate_json(encode(letter)) == letter
    assert b"\n" not in encode(letter)
    record = dead_letter_record(letter, delivery, _TOPICS)
    assert all(len(value or b"") <= 512 for _, value in record.headers)
    found = original(letter)
    if isinstance(found, Original):
        assert (found.value, found.key) == (delivery.value or b"", delivery.key)
    else:
        assert letter.truncated
    smaller: Any = letter
    for _ in range(64):
        if smaller is None:
            break
        smaller = cut(smaller)
    assert smaller is None
    check_shown(letter)


def check_shown(letter: DeadLetter) -> None:
    """Nothing that a dead letter holds acts on a terminal, however it is shown."""
    one = line(letter)
    assert neutral(one, len(one) + 1) == one
    for text in (False, True):
        for row in page(letter, text=text).split("\n"):
            assert neutral(row, len(row) + 1) == row
    assert not {"key", "headers", "payload"} & summary(letter).keys()


def check_headers(raw: bytes) -> None:
    """Names are text and values bytes, as Kafka has them; here a value is text too, for the corpus."""
    try:
        written = json.loads(raw)
        headers: Sequence[tuple[str, bytes | None]] = [
            (
                name.encode(errors="replace").decode(),
                None if value is None else value.encode(errors="replace"),
            )
            for name, value in written
        ]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return  # cannot be written as headers
    check_burial(
        MemoryDelivery(7, b"{", headers=tuple(headers)), Rejection(ReasonCode.INVALID_JSON, "not JSON")
    )


def check_dead_letter(raw: bytes) -> None:
    """A record of the dead-letter topic is passed over, or shown and replayed without harm."""
    letter = TopicRecord("posts.deadletter", 0, 0, None, raw).event(DeadLetter)
    if letter is None:
        return
    found = original(letter)
    assert isinstance(found, str) == (not isinstance(found, Original))
    if isinstance(found, Original):
        assert len(found.value) <= len(raw)
    else:
        assert neutral(found, len(found) + 1) == found
    check_shown(letter)


def check_control(raw: bytes) -> None:
    """A record of the control topic (its key stands before the first tab) is a fact, or is refused by name."""
    key, _, value = raw.partition(b"\t")
    try:
        trip = read_fact(key, value)
    except ValueError:
        trip = None
    if trip is not None:
        assert trip.key == key
        assert read_fact(trip.key, trip.encode()) == trip
    note = ReplayNote.decode(value)
    if note is not None:
        note.encode()


def check_finding(raw: bytes) -> None:
    """A value in Redis is a finding that may be reused, or nothing; so is a verdict to a consumer."""
    stored = unpacked(raw)
    if stored is not None:
        assert stored.assessment.severity == stored.assessment.scores.severity
    TopicRecord("verdicts.allow", 0, 0, None, raw).event(Verdict)


_LETTERS = [
    orjson.loads(encode(bury(delivery, rejection, payload_bytes=_KEPT_BYTES, now=_NOW)))
    for delivery, rejection in (
        (MemoryDelivery(7, b"{", key=b"k"), Rejection(ReasonCode.INVALID_JSON, "not JSON at character 1")),
        (
            MemoryDelivery(8, b"[]", headers=(("sluicegate-tries", b"3"), ("x", None))),
            Rejection(ReasonCode.INVALID_POST, "the record must be a JSON object"),
        ),
        (MemoryDelivery(9, b"x" * 999), Rejection(ReasonCode.OVERSIZE, "999 bytes; the limit is 1")),
    )
]
_HEADERS: list[Any] = [
    [["traceparent", "00-aa-bb-01"], ["sluicegate-tries", "2"], ["x", None]],
    [["sluicegate-replayed-from", base64.b64encode(b"id").decode()], ["tracestate", "a=b"]],
]
_CONTROL: list[Any] = [
    {"kind": "deadletter-replay", "topic": "posts", "at": "2026-01-02T03:04:05Z"},
    {
        "kind": "block-breaker",
        "state": "open",
        "tenant": "school",
        "policy": _DIGEST,
        "generation": 0,
        "at": "2026-01-02T03:04:05Z",
        "by": "worker-1",
        "why": "900 of 1000 posts blocked in 300 s",
    },
]
_CONTROL_KEYS = (b"deadletter-replay id", f"block-breaker school {_DIGEST} 0 open".encode(), b"")
_FINDINGS: list[Any] = [
    {
        "verdict_id": "0a7b8a8e-4f65-5d53-9a60-c5f2f2d0a3b4",
        "assessment": {
            "scores": {"safe": 0.25, "controversial": 0.25, "unsafe": 0.5},
            "severity": "unsafe",
            "assessed_by": "engine",
            "explained": True,
            "categories": ["Violent"],
            "category_scores": {"Violent": 0.9},
            "reason": "a threat",
        },
    }
]

TARGETS = [
    Target("posts", json_like(_POSTS), check_post),
    Target("headers", json_like(_HEADERS), check_headers),
    Target("dead_letters", json_like(_LETTERS), check_dead_letter),
    Target(
        "control",
        st.builds(
            lambda key, value: key + b"\t" + value, st.sampled_from(_CONTROL_KEYS), json_like(_CONTROL)
        ),
        check_control,
    ),
    Target("findings", json_like(_FINDINGS), check_finding),
]
