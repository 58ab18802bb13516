"""A verdict on its way out: the fields of :class:`Verdict`, put together and encoded without checking them again.

:class:`Verdict` owns the shape, and says what a verdict may be. What a worker puts together has been checked part by part:
the post, the assessment, the policy and the engine. A test compares fields and bytes with those of the model.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from sluicegate.schemas._fields import Event
from sluicegate.schemas.assessment import AssessedBy, FailureCode, Scores, Severity
from sluicegate.schemas.codec import encode
from sluicegate.schemas.post import Kind
from sluicegate.schemas.verdict import (
    Action,
    EngineRef,
    Failure,
    Form,
    PolicyRef,
    Segments,
    Timings,
    Verdict,
    WithheldBlock,
)


class MadeVerdict(NamedTuple):
    """What a :class:`Verdict` holds, in its order and under its names. ``_replace`` makes a changed copy."""

    schema_version: str
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
    explanation_failure: FailureCode | str | None
    failure: Failure | None
    breaker: WithheldBlock | None
    assessed_by: AssessedBy
    reused_from: str | None
    policy: PolicyRef
    engine: EngineRef
    form: Form
    form_rules: tuple[str, ...]
    segments: Segments
    timings: Timings
    judged_at: datetime

    @property
    def checked(self) -> Verdict:
        """The same as the public model.

        Raises:
            ValidationError: It is no verdict.
        """
        return Verdict(**self._asdict())


def verdict_bytes(made: MadeVerdict) -> bytes:
    """Encode a verdict: the bytes that :func:`encode` gives of the model."""
    fields: dict[str, Any] = dict(zip(_NAMES, made, strict=True))
    if made.scores is not None:
        fields["scores"] = vars(made.scores)
    fields["timings"] = vars(made.timings)
    for name, part in (("policy", made.policy), ("engine", made.engine), ("segments", made.segments)):
        fields[name] = _encoded(part)
    return orjson.dumps(fields, default=_rare, option=orjson.OPT_UTC_Z)


_NAMES = MadeVerdict._fields
_ENCODED_PARTS = 4096
"""Policies with their rules, engines, and segments: few of them, again and again."""


def _rare(part: Any) -> orjson.Fragment:
    """A failure, or a block that is withheld."""
    if isinstance(part, Event):
        return orjson.Fragment(encode(part))
    raise TypeError(type(part).__name__)


@lru_cache(_ENCODED_PARTS)
def _encoded(part: PolicyRef | EngineRef | Segments) -> orjson.Fragment:
    return orjson.Fragment(encode(part))
