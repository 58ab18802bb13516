"""Results of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "fault", "unknown"]
"""``unknown``: it could not be asked, here or after an earlier fault; neither good nor bad."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found about one part of the set-up."""

    subject: str
    """Which part, such as ``broker`` or ``policy``."""
    state: State
    detail: str
    """What is, and for a fault what is wrong with it."""
    fix: str | None = None
    """The command that puts it right; for a fault always given."""


def ok(subject: str, detail: str) -> Result:
    """Something is as it must be."""
    return Result(subject, "ok", detail)


def fault(subject: str, detail: str, fix: str) -> Result:
    """Something is not, and this command puts it right."""
    return Result(subject, "fault", detail, fix)


def unknown(subject: str, detail: str) -> Result:
    """Something could not be asked."""
    return Result(subject, "unknown", detail)
