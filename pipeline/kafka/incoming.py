"""What comes in: a record of an output topic, and the event in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from sluicegate.schemas import DeadLetter, Verdict

_MAJOR = "1."  # within a major version every reader reads every record

_E = TypeVar("_E", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One record as it stands on its topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def read_verdict(record: Incoming) -> Verdict | None:
    """The verdict in a record; None if there is none, or one of another major version."""
    verdict = _read(Verdict, record)
    return verdict if verdict and verdict.schema_version.startswith(_MAJOR) else None


def read_dead_letter(record: Incoming) -> DeadLetter | None:
    """The dead letter in a record; None if there is none, or one of another major version."""
    letter = _read(DeadLetter, record)
    return letter if letter and letter.schema_version.startswith(_MAJOR) else None


def _read(event: type[_E], record: Incoming) -> _E | None:
    try:
        return event.model_validate_json(record.value or b"")
    except ValueError:
        return None
