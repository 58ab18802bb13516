"""Bytes to events and back. Failure to decode is a value, never an exception."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from sluicegate.schemas._fields import Event
from sluicegate.schemas.deadletter import ReasonCode
from sluicegate.schemas.post import Post

POST_BYTES = 262_144
"""Default limit of one record's value: 256 KiB holds 32,768 tokens of every script, and fits Kafka's default of 1 MiB."""

_REFUSED = "none of the control and format characters that docs/contract.md lists"
_ID = f"must be text of 1 to 256 characters, {_REFUSED}"
_TEXT = "must be text of at least one character"
_FORMS = {
    "id": _ID,
    "text": _TEXT,
    "kind": "must be post, prompt or response",
    "context": f"{_TEXT}, or a list of 1 to 64 turns with role and text",
    "tenant": "must be text of 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or a digit",
    "author_id": _ID,
    "language": "must be a BCP 47 tag of at most 35 characters, such as zh-Hant",
    "region": "must be a code of ISO 3166 of at most 6 characters, such as DE or US-CA",
    "created_at": "must be a date and time that exists, as text in the form of RFC 3339 with an offset",
    "revision": "must be a whole number from 0 to 9007199254740991",
    "metadata": "must be an object of at most 32 entries",
    "role": "must be user or assistant",
}
"""What each field must be, as docs/contract.md has it."""
_TURN = "must be an object with role and text"
_ENTRY_NAME = f"a name must have 1 to 64 characters, {_REFUSED}"
_ENTRY_VALUE = "a value must be text of at most 512 characters, a finite number, true, false or null"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CAUSES = {
    "depth limit": "nested deeper than 1024 levels",
    "infinity": "a number is out of range",
    "surrogate in string": "a lone surrogate",
    "control character": "a control character inside a string",
    "end of data": "it ends too early",
    "zero-length": "it is empty",
    "content after document": "more follows the first JSON value",
}
"""What orjson's message says of a cause, and what the dead letter says. The message itself is not handed on."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why bytes are no post. ``detail`` names the field and the rule, never the value."""

    code: ReasonCode
    detail: str


def decode_post(raw: bytes, *, limit_bytes: int = POST_BYTES) -> Post | Rejection:
    """Decode the value of one record of the input topic.

    Total: any bytes give a :class:`Post` or a :class:`Rejection`.
    """
    if len(raw) > limit_bytes:
        return Rejection(ReasonCode.OVERSIZE, f"the value has {len(raw)} bytes; the limit is {limit_bytes}")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Rejection(ReasonCode.INVALID_JSON, _explain_syntax(raw, error))
    if not isinstance(document, dict):
        return Rejection(ReasonCode.INVALID_POST, "the record must be a JSON object")
    if document.get("text") == "":
        return Rejection(ReasonCode.EMPTY_TEXT, f"text: {_TEXT}")
    try:
        return Post.model_validate(document)
    except ValidationError as error:
        return Rejection(ReasonCode.INVALID_POST, _explain(error))


def _explain_syntax(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """Where the bytes cease to be JSON, and the cause if it is a known one."""
    if raw.startswith(_BYTE_ORDER_MARK):
        return "not JSON: it begins with a byte order mark"
    try:
        raw.decode()
    except UnicodeDecodeError as fault:  # orjson does not say where
        return f"not JSON: it is not UTF-8 from byte {fault.start} on"
    cause = next((said for told, said in _CAUSES.items() if told in error.msg), None)
    return f"not JSON at character {error.pos}{'' if cause is None else f': {cause}'}"


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
    place = fault["loc"]
    if field == "metadata" and len(place) > 1:
        return f"metadata: {_ENTRY_NAME if place[-1] == '[key]' else _ENTRY_VALUE}"
    path = [part for part in place if isinstance(part, int) or part in _FORMS]
    form = (
        "missing" if fault["type"] == "missing" else _TURN if isinstance(path[-1], int) else _FORMS[path[-1]]
    )
    return f"{'.'.join(map(str, path))}: {form}"


def encode(event: Event) -> bytes:
    """Encode an event as one line of JSON: UTF-8, no line breaks, fields in their declared order."""
    return event.model_dump_json().encode()
