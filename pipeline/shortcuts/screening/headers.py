"""Headers that an edge adds to what it forwards: how often that was done, and what the screen would have said. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sluicegate.pipeline.records import HOPS, Headers, name_as_sent
from sluicegate.pipeline.shortcuts.screening.standing import Sample
from sluicegate.schemas import Action

if TYPE_CHECKING:
    from collections.abc import Sequence


SAMPLE = "screen-said"
_DIGITS = re.compile(rb"[0-9]{1,4}")
_SAMPLE = re.compile(rb"(allow|block) (sha256:[0-9a-f]{64}) (sha256:[0-9a-f]{64})")


def hops_of(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """How often a record was forwarded; 0 where that cannot be read."""
    said = [value for name, value in headers if name == HOPS and value is not None]
    return max((int(value) for value in said if _DIGITS.fullmatch(value)), default=0)


def sample_of(headers: Sequence[tuple[str, bytes | None]]) -> Sample | None:
    """What a screen would have said of a record, if its headers say so once and rightly."""
    said = [value for name, value in headers if name == SAMPLE]
    match = _SAMPLE.fullmatch(said[0] or b"") if len(said) == 1 else None
    if match is None:
        return None
    action, screen, policy = (one.decode() for one in match.groups())
    return Sample(screen, Action(action), policy)


def without_ours(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    """The headers as their producer gave them: nobody but an edge may speak in its name."""
    return tuple(header for header in headers if name_as_sent(header[0]) not in {HOPS, SAMPLE})


def with_ours(headers: Sequence[tuple[str, bytes | None]], sample: Sample | None) -> Headers:
    """The headers of a record that is forwarded once more."""
    forwarded = (*without_ours(headers), (HOPS, b"%d" % (hops_of(headers) + 1)))
    if sample is None:
        return forwarded
    return (*forwarded, (SAMPLE, f"{sample.action} {sample.screen} {sample.policy}".encode()))
