"""Verdict: assessment, action, disposition and where they come from."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

import orjson
from pydantic import Field, StringConstraints, model_validator

from sluicegate.schemas._fields import (
    Code,
    Digest,
    Event,
    Identifier,
    Instant,
    LanguageTag,
    MetadataNumber,
    Milliseconds,
    RegionCode,
    TenantName,
)
from sluicegate.schemas.assessment import (
    EXPLAINED_AS,
    EXPLAINED_BY,
    AssessedBy,
    Categories,
    CategoryScores,
    ExplainedBy,
    OpenFailureCode,
    Reason,
    Scores,
    Severity,
)
from sluicegate.schemas.post import Kind, Post

SCHEMA_VERSION = "1.0"
# Our own namespace; changing it changes every id.
_NAMESPACE = UUID("5f0e9c0e-9d0b-5b7e-8a50-9f1f1f3f6c11").bytes
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


ParameterValue = Annotated[str, StringConstraints(max_length=256)] | bool | int | MetadataNumber
DispositionParameters = Annotated[dict[Code, ParameterValue], Field(max_length=16)]
"""Up to 16 entries, as the policy has them."""


Form = Literal["original", "folded"]
ReasonCodes = Annotated[tuple[Code, ...], Field(max_length=8, strict=False)]
SHARED_PATTERN = "shared_pattern_"
"""What the reason code begins with where a shared pattern raised a verdict; the pattern's id follows."""
FormRules = Annotated[tuple[Code, ...], Field(max_length=32, strict=False)]
"""Such as ``leet`` or ``spaced``."""


class Action(StrEnum):
    """Which topic a verdict goes to."""

    ALLOW = "allow"
    REVIEW = "review"
    BLOCK = "block"


class PolicyRef(Event):
    """The policy that decided."""

    name: str
    version: str
    digest: Digest
    rule: str = Field(description="The rule that fired, in the policy's own terms.")


class EngineRef(Event):
    """The engine that scored, or would have; where the screen answered, the screen."""

    digest: Digest
    backend: str
    model: str
    adapter: str | None = Field(
        default=None, description="The adapter on its base, where there is one, such as a tenant's own."
    )
    layout_digest: Digest
    calibrated: bool = Field(
        default=False,
        description="True if the scores were calibrated, as the engine's bundle says for this kind and language.",
    )


class Failure(Event):
    """Present where a post could not be scored."""

    code: OpenFailureCode
    mode: Annotated[Action, Field(strict=False)] = Field(
        description="The tenant's failure mode that was applied."
    )


class WithheldBlock(Event):
    """Present where the tenant's block-volume breaker is open: what the policy said, had it been closed."""

    action: Annotated[Action, Field(strict=False)] = Field(description="Always `block` today.")
    disposition: str
    disposition_parameters: DispositionParameters = Field(default_factory=dict)
    open_since: Instant = Field(description="When the breaker tripped.")


class Timings(Event):
    """Where the time went, in milliseconds, measured on the worker's monotonic clock."""

    queued_ms: Milliseconds = Field(
        description="From the take to the hand-over to the engine, or to the cache hit."
    )
    engine_ms: Milliseconds = Field(description="In the engine; 0 where nothing was asked of it.")
    total_ms: Milliseconds = Field(description="From the take to the decision.")


class Segments(Event):
    """In how many overlapping parts the text was judged, and which of them decided.

    All of it is told of the form that decided: where that is the folded form, positions are those in
    the folded text.
    """

    count: int = Field(default=1, ge=1)
    deciding: int = Field(
        default=0, ge=0, description="The part whose finding decided, from 0: the worst one."
    )
    start: int = Field(
        default=0, ge=0, description="First character of that part in the text, in code points."
    )
    end: int | None = Field(
        default=None, ge=0, description="One past its last; null where the text is one part."
    )
    context_cut_characters: int = Field(
        default=0, ge=0, description="Cut from the oldest side of the context, because it was too long."
    )


class Verdict(Event):
    """One post's judgement. Idempotent on ``verdict_id``; the newest ``judged_at`` counts."""

    schema_version: str = SCHEMA_VERSION
    verdict_id: str
    post_id: Identifier
    revision: int = Field(ge=0, le=2**53 - 1)
    tenant: TenantName
    kind: Kind
    content_hash: Digest
    author_id: Identifier | None = None
    language: LanguageTag | None = None
    region: RegionCode | None = None

    action: Annotated[Action, Field(strict=False)]
    disposition: str = Field(description="Suggested enforcement; an open set that the policy defines.")
    disposition_parameters: DispositionParameters = Field(
        default_factory=dict, description="What the disposition needs to know, such as `posts_per_hour`."
    )
    severity: Severity | None = Field(description="Absent where the post could not be scored.")
    scores: Scores | None = None
    categories: Categories = ()
    category_scores: CategoryScores = Field(default_factory=dict)
    reason: Reason | None = None
    refusal: bool | None = None
    explained_as: Severity | None = Field(default=None, description=EXPLAINED_AS)
    explained_by: ExplainedBy | None = Field(default=None, description=EXPLAINED_BY)
    explanation_failure: OpenFailureCode | None = None
    failure: Failure | None = None
    breaker: WithheldBlock | None = None

    assessed_by: Annotated[AssessedBy, Field(strict=False)]
    reused_from: str | None = Field(default=None, description="The verdict whose assessment was reused.")
    policy: PolicyRef
    engine: EngineRef
    form: Form = Field(
        default="original",
        description="Which form of the text decided: the post as it came, or its folded form, where that has the higher risk.",
    )
    form_rules: FormRules = Field(
        default=(), description="The rules that folded the text, where the folded form decided; an open set."
    )
    segments: Segments = Segments()
    timings: Timings
    judged_at: Instant
    reason_codes: ReasonCodes = Field(
        default=(),
        # Nearly no verdict has any: those keep the bytes that they had before there were codes.
        exclude_if=lambda codes: not codes,
        description="Why the action is severer than the policy's own, such as `shared_pattern_` and the id of a pattern; absent if it is not. An open set.",
    )

    @model_validator(mode="after")
    def _judged_or_failed(self) -> Self:
        judged = self.failure is None
        if not judged == (self.scores is not None) == (self.severity is not None):
            raise ValueError("severity and scores stand exactly where there is no failure")
        if judged == (self.assessed_by is AssessedBy.NONE):
            raise ValueError("assessed_by is none exactly where there is a failure")
        if (self.form == "folded") != bool(self.form_rules):
            raise ValueError("rules stand exactly where a folded form decided")
        if self.breaker is not None and (not judged or self.action is not Action.REVIEW):
            raise ValueError("a breaker withholds blocks that were judged, and makes them review")
        if self.is_raised and self.action is Action.ALLOW:
            raise ValueError("a shared pattern raises an allow, and makes none")
        if self.is_raised and self.action is Action.BLOCK and not judged:
            raise ValueError("a confirmed pattern blocks only what was judged")
        return self

    @property
    def is_raised(self) -> bool:
        """True if the policy would have allowed the post but for a shared pattern, which raised it."""
        return any(code.startswith(SHARED_PATTERN) for code in self.reason_codes)

    @property
    def outcome(self) -> str:
        """``judged``, ``failure:<code>``, ``breaker`` or ``pattern``: the part of the verdict id that tells them apart."""
        if self.is_raised:
            return "pattern"
        if self.failure is not None:
            return f"failure:{self.failure.code}"
        return "judged" if self.breaker is None else "breaker"


def content_hash(post: Post) -> str:
    """Digest of what is judged: text, kind, context, region and language of a post.

    Fields are encoded as one JSON array, so that no choice of values can move a
    character from one field to the next.
    """
    context = post.context
    if context is None:
        turns = []
    elif isinstance(context, str):
        turns = [["user", context]]  # as Post.turns has it, without an object that is checked again
    else:
        turns = [[turn.role, turn.text] for turn in context]
    record = orjson.dumps([post.text, post.kind, turns, post.region, post.language])
    return f"sha256:{hashlib.sha256(record).hexdigest()}"


def verdict_id(
    post: Post,
    *,
    content: str,
    policy_digest: str,
    engine: EngineRef,
    outcome: str,
    action: Action,
) -> str:
    """UUIDv5 of everything that makes a verdict this one (design: one id never has two actions).

    Args:
        post: The post judged.
        content: Its :func:`content_hash`.
        policy_digest: Digest of the policy that decided.
        engine: The engine asked, with its adapter.
        outcome: ``judged``, ``failure:<code>``, ``breaker`` or ``pattern``.
        action: The action decided.
    """
    parts = [
        post.tenant,
        post.id,
        post.revision,
        content,
        policy_digest,
        engine.digest,
        engine.adapter,
        outcome,
        action,
    ]
    # As uuid.uuid5 makes it: the objects that it builds on the way cost more than the hash.
    digest = hashlib.sha1(_NAMESPACE + orjson.dumps(parts), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
