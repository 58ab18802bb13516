"""Dead letter: a record that can never be judged, with the reason and its origin."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID, uuid5

import orjson
from pydantic import Field

from sluicegate.schemas._fields import LEFT_TO_RIGHT, Code, Digest, Event, Instant, open_set

SCHEMA_VERSION = "1.0"
_DEAD_LETTERS = UUID("0a7b8a8e-4f65-5d53-9a60-c5f2f2d0a3b4")  # our own namespace


class ReasonCode(StrEnum):
    """Why a record can never be judged."""

    OVERSIZE = "oversize"
    """The record's value has more bytes than the limit; it was not parsed."""
    INVALID_JSON = "invalid_json"
    """Not JSON: bad syntax, not UTF-8, a byte order mark, a lone surrogate, nested too deeply, a number out of range."""
    INVALID_POST = "invalid_post"
    """JSON, but no post: a field is missing, has the wrong type, or breaks its limit."""
    EMPTY_TEXT = "empty_text"
    """A post whose text is the empty string: there is nothing to judge."""


class Origin(Event):
    """Where the record stood."""

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    timestamp_ms: int | None = Field(
        default=None, description="The record's own timestamp, Unix milliseconds."
    )


Header = Annotated[tuple[str, str | None], Field(strict=False)]


class DeadLetter(Event):
    """A record that can never be judged. ``key`` and ``payload`` are the original bytes, base64."""

    schema_version: str = SCHEMA_VERSION
    dead_letter_id: str
    code: Annotated[Annotated[ReasonCode, Field(strict=False)] | Code, LEFT_TO_RIGHT, open_set(ReasonCode)]
    detail: str = Field(max_length=512, description="Which field, and what would be right. Never the value.")
    origin: Origin
    key: str | None = None
    headers: Annotated[tuple[Header, ...], Field(strict=False)] = Field(
        default=(), description="Names with base64 values, in order; cut with the payload."
    )
    payload: str = Field(description="Base64 of the payload, or of its beginning where `truncated`.")
    payload_bytes: int = Field(ge=0, description="Length of the whole payload.")
    payload_hash: Digest
    truncated: bool = False
    rejected_at: Instant = Field(description="When it was rejected, the last time if it was replayed.")
    first_rejected_at: Instant | None = Field(
        default=None,
        description="When it was rejected for the first time; null from workers that did not tell yet.",
    )
    tries: int = Field(
        default=1,
        ge=1,
        description="How often the record was rejected: 1, and one more each time it was replayed.",
    )


def dead_letter_id(origin: Origin) -> str:
    """UUIDv5 over topic, partition and offset: a repeat carries the same id.

    A topic that is deleted and created again counts its offsets from zero: then two
    records share an id.
    """
    return str(uuid5(_DEAD_LETTERS, orjson.dumps([origin.topic, origin.partition, origin.offset]).decode()))
