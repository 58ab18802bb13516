"""A verdict on its way out: the fields of :class:`Verdict`, put together and encoded without checking them again.

:class:`Verdict` owns the shape, and says what a verdict may be. What a worker puts together was checked part by part:
the post, the assessment, the policy and the engine. Tests compare fields and bytes with those of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import orjson

from sluicegate.schemas._fields import Event
from sluicegate.schemas.assessment import AssessedBy, ExplainedBy, FailureCode, Scores, Severity
from sluicegate.schemas.codec import encode
from sluicegate.schemas.post import Kind
from sluicegate.schemas.verdict import (
    SCHEMA_VERSION,
    Action,
    EngineRef,
    Failure,
    PolicyRef,
    Segments,
    Timings,
    Verdict,
    WithheldBlock,
)

_NUMBERS: set[type] = {Scores, Timings}
_FEW: set[type] = {PolicyRef, EngineRef, Segments}
"""Parts that come again and again; up to 4,096 of them are kept encoded."""
_REMEMBERED = 4096


@dataclass(kw_only=True)
class MadeVerdict:
    """What a :class:`Verdict` holds, in its order and under its names. Nobody changes it; ``replace`` makes a copy."""

    # Neither frozen nor with slots: one is slower to make so, and the other slower to encode.
    schema_version: str = SCHEMA_VERSION
    verdict_id: str
    post_id: str
    revision: int
    tenant: str
    kind: Kind
    content_hash: str
    author_id: str | None
    language: str | None
    region: str | None
    action: Action
    disposition: str
    disposition_parameters: dict[str, str | float | bool]
    severity: Severity | None
    scores: Scores | None
    categories: tuple[str, ...]
    category_scores: dict[str, float]
    reason: str | None
    refusal: bool | None
    explained_as: Severity | None
    explained_by: ExplainedBy | None
    explanation_failure: FailureCode | str | None
    failure: Failure | None
    breaker: WithheldBlock | None = None
    assessed_by: AssessedBy
    reused_from: str | None
    policy: PolicyRef
    engine: EngineRef
    form: str
    form_rules: tuple[str, ...]
    segments: Segments
    timings: Timings
    judged_at: datetime
    reason_codes: ClassVar[tuple[str, ...]] = ()
    """Of a :class:`RaisedVerdict` alone, so that all others keep their bytes."""

    @property
    def checked(self) -> Verdict:
        """The same as the public model.

        Raises:
            ValidationError: It is no verdict.
        """
        return Verdict(**vars(self))


@dataclass(kw_only=True)
class RaisedVerdict(MadeVerdict):
    """A verdict whose action is severer than the policy's own."""

    reason_codes: tuple[str, ...]  # type: ignore[misc]  # on the others it is no field


def verdict_bytes(made: MadeVerdict) -> bytes:
    """Encode a verdict: the bytes that :func:`encode` gives of the model."""
    return orjson.dumps(made, default=_part, option=orjson.OPT_UTC_Z)


def _part(part: object) -> Any:
    kind = type(part)  # to ask isinstance of a model is slow
    if kind in _NUMBERS:
        return vars(part)
    if kind in _FEW:
        return _remembered(part)
    if isinstance(part, Event):
        return orjson.Fragment(encode(part))
    raise TypeError(kind.__name__)


_KNOWN: dict[int, tuple[object, orjson.Fragment]] = {}


def _remembered(part: Any) -> orjson.Fragment:
    # By the object: most come from one place, and the hash of a model takes longer than all else here.
    known = _KNOWN.get(id(part))
    if known is not None:
        return known[1]  # the object is kept beside it, so that no other one gets its number
    if len(_KNOWN) >= _REMEMBERED:
        _KNOWN.clear()
    _KNOWN[id(part)] = part, (encoded := orjson.Fragment(encode(part)))
    return encoded
