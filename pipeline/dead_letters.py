"""Dead letters again: which ones are meant, how one is shown, and the record that it once was. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from sluicegate.pipeline.records import name_as_sent
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import DeadLetter, encode

if TYPE_CHECKING:
    from collections.abc import Sequence


REPLAYED_FROM = "sluicegate-replayed-from"
TRIES = "sluicegate-tries"
FIRST_REJECTED = "sluicegate-first-rejected"
_NOT_AGAIN = {REPLAYED_FROM, TRIES, FIRST_REJECTED}
_MOMENT_BYTES = 40  # a time as RFC 3339 writes it, down to the microsecond
_TRIES_DIGITS = 6  # a header is anybody's: no number that grows a record
_SHOWN_CHARACTERS = 300
_KIND = "deadletter-replay"

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant. What is empty or None admits all."""

    ids: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    topic: str | None = None
    partition: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""

    def admits(self, letter: DeadLetter) -> bool:
        """True if this dead letter is meant."""
        return (
            (not self.ids or letter.dead_letter_id in self.ids)
            and (not self.codes or str(letter.code) in self.codes)
            and self.topic in (None, letter.origin.topic)
            and self.partition in (None, letter.origin.partition)
            and (self.since is None or letter.rejected_at >= self.since)
            and (self.until is None or letter.rejected_at < self.until)
        )


@dataclass(frozen=True, slots=True)
class Original:
    """The record that a dead letter once was, as it is sent again."""

    key: bytes | None
    value: bytes
    headers: Headers


def tries_of(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """Which try at a record this is: 1, unless it was replayed and its header says more."""
    said = next((value for name, value in headers if name == TRIES), None) or b""
    return max(1, int(said)) if said.isdigit() and len(said) <= _TRIES_DIGITS else 1


def first_rejected_of(headers: Sequence[tuple[str, bytes | None]], now: datetime) -> datetime:
    """When a record was rejected for the first time: now, unless it was replayed and its header says earlier."""
    said = next((value for name, value in headers if name == FIRST_REJECTED), None) or b""
    if len(said) > _MOMENT_BYTES:
        return now
    try:
        moment = datetime.fromisoformat(said.decode("ascii"))
        return now if moment.tzinfo is None else min(moment.astimezone(UTC), now)
    except (ValueError, OverflowError):  # a header is anybody's
        return now


def replayed_from(letter: DeadLetter) -> str | None:
    """The dead letter whose replay came back as this one; None if it is no replay, or says no id."""
    encoded = next((value for name, value in letter.headers if name == REPLAYED_FROM), None)
    try:
        return str(UUID((_bytes(encoded or "") or b"").decode()))
    except ValueError:  # a header is anybody's
        return None


def original(letter: DeadLetter) -> Original | str:
    """The record as it came, with the headers of a replay; or why it cannot be had again.

    Truncated or altered bytes are refused: sent again they would be another record.
    """
    if letter.truncated:
        kept = len(letter.payload) // 4 * 3 - letter.payload.count("=", -2)
        return (
            f"truncated: {kept} of {letter.payload_bytes} payload bytes were kept, or the key or headers cut"
        )
    key, value = None if letter.key is None else _bytes(letter.key), _bytes(letter.payload)
    headers = [(name, None if text is None else _bytes(text)) for name, text in letter.headers]
    decoded = [
        (key, letter.key),
        *((kept, text) for (_, kept), (_, text) in zip(headers, letter.headers, strict=True)),
    ]
    if value is None or any(kept is None and text is not None for kept, text in decoded):
        return "its key, headers or payload are no base64"
    if f"sha256:{hashlib.sha256(value).hexdigest()}" != letter.payload_hash:
        return "the payload is not the one that its hash names"
    own = (
        (REPLAYED_FROM, letter.dead_letter_id.encode()),
        (TRIES, str(min(letter.tries + 1, 10**_TRIES_DIGITS - 1)).encode()),
        (FIRST_REJECTED, (letter.first_rejected_at or letter.rejected_at).isoformat().encode()),
    )
    # A record that was replayed before has such headers already.
    theirs = [one for one in headers if name_as_sent(one[0]) not in _NOT_AGAIN]
    return Original(key, value, (*theirs, *own))


def identity(letter: DeadLetter) -> str:
    """What a replay is noted under: the dead letter's id and the payload's hash.

    A topic that is made again counts its offsets from zero; then an id comes again, for another record.
    """
    return f"{letter.dead_letter_id} {letter.payload_hash}"


@dataclass(frozen=True, slots=True)
class ReplayNote:
    """What the control topic keeps of a replay."""

    topic: str
    """Where the record was sent."""
    at: str
    """When, as RFC 3339 writes it."""

    def encode(self) -> bytes:
        """The record's value."""
        return orjson.dumps({"kind": _KIND, "topic": self.topic, "at": self.at})

    @classmethod
    def decode(cls, value: bytes | None) -> ReplayNote | None:
        """Read a value of the control topic; None for one that is no note of a replay."""
        try:
            document = orjson.loads(value or b"")
        except orjson.JSONDecodeError:
            return None
        if not isinstance(document, dict) or document.get("kind") != _KIND:
            return None
        topic, at = document.get("topic"), document.get("at")
        return cls(topic, at) if isinstance(topic, str) and isinstance(at, str) else None


def summary(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter without anything that its producer wrote: no key, no header, no payload."""
    document: dict[str, Any] = orjson.loads(encode(letter))
    for name in ("key", "headers", "payload"):
        del document[name]
    return document


def line(letter: DeadLetter) -> str:
    """A dead letter as one line of printable text."""
    origin = letter.origin
    return "  ".join(
        (
            letter.rejected_at.isoformat(timespec="seconds"),
            neutral(letter.dead_letter_id, 48),
            neutral(str(letter.code), 20),
            f"{neutral(origin.topic, 64)}[{origin.partition}]@{origin.offset}",
            f"{letter.payload_bytes} bytes{', truncated' if letter.truncated else ''}",
            f"try {letter.tries}",
            neutral(letter.detail, _SHOWN_CHARACTERS),
        )
    )


def page(letter: DeadLetter, *, text: bool) -> str:
    """A dead letter whole, one field a line. Key, header values and payload only with ``text``."""
    origin = letter.origin
    rows = [
        ("id", letter.dead_letter_id),
        ("code", str(letter.code)),
        ("detail", letter.detail),
        ("origin", f"{origin.topic}, partition {origin.partition}, offset {origin.offset}"),
        ("first rejected at", (letter.first_rejected_at or letter.rejected_at).isoformat()),
        ("rejected at", letter.rejected_at.isoformat()),
        ("tries", str(letter.tries)),
        ("replayed from", replayed_from(letter) or "-"),
        ("key", _shown(letter.key, text=text)),
        *((f"header {neutral(name, 64)}", _shown(value, text=text)) for name, value in letter.headers),
        ("payload bytes", f"{letter.payload_bytes}{' (truncated)' if letter.truncated else ''}"),
        ("payload hash", letter.payload_hash),
        ("payload", _shown(letter.payload, text=text)),
    ]
    return "\n".join(f"{name}: {neutral(value, 10 * len(value) + 1)}" for name, value in rows)


def _shown(encoded: str | None, *, text: bool) -> str:
    if encoded is None:
        return "-"
    value = _bytes(encoded)
    if value is None:
        return "no base64"
    return (
        value.decode(errors="backslashreplace") if text else f"{len(value)} bytes (--show-text prints them)"
    )


def _bytes(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
