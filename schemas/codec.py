"""Bytes to events and back. Failure to decode is a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from sluicegate.schemas._fields import Event
from sluicegate.schemas.deadletter import ReasonCode
from sluicegate.schemas.post import Post, Turn

POST_BYTES = 262_144
"""Default limit of one record: 256 KiB holds 32,768 tokens of every script, and fits Kafka's default of 1 MiB."""

_DECLARED = frozenset(Post.model_fields) | frozenset(Turn.model_fields)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why bytes are no post. ``detail`` names the field and the rule, never the value."""

    code: ReasonCode
    detail: str


def decode_post(raw: bytes, *, limit_bytes: int = POST_BYTES) -> Post | Rejection:
    """Decode one record of the input topic.

    Total: any bytes give a :class:`Post` or a :class:`Rejection`.
    """
    if len(raw) > limit_bytes:
        return Rejection(ReasonCode.OVERSIZE, f"{len(raw)} bytes; the limit is {limit_bytes}")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Rejection(ReasonCode.INVALID_JSON, f"not JSON at character {error.pos}")
    if not isinstance(document, dict):
        return Rejection(ReasonCode.INVALID_POST, "the record must be a JSON object")
    if document.get("text") == "":
        return Rejection(ReasonCode.EMPTY_TEXT, "text: must have at least one character")
    try:
        return Post.model_validate(document)
    except ValidationError as error:
        return Rejection(ReasonCode.INVALID_POST, _explain(error))


def _explain(error: ValidationError) -> str:
    """Path and rule of the first fault. Only names that we declared and positions are kept of the path.

    A key of ``metadata`` is the record's own content, line breaks and all.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    field = faults[0]["loc"][0]
    # A union reports each of its branches. Meant is the one that got furthest, and did not already
    # fail at the type.
    fault = max(
        (one for one in faults if one["loc"][0] == field),
        key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")),
    )
    path = ".".join(str(part) for part in fault["loc"] if isinstance(part, int) or part in _DECLARED)
    return f"{path}: {fault['type']}"


def encode(event: Event) -> bytes:
    """Encode an event as one line of JSON: UTF-8, no line breaks, fields in their declared order."""
    return event.model_dump_json().encode()
