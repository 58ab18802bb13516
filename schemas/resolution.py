"""Resolution: what a person decided about a judged post. It supersedes a verdict."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID, uuid5

import orjson
from pydantic import Field, model_validator

from sluicegate.schemas._fields import (
    LEFT_TO_RIGHT,
    Code,
    Digest,
    Event,
    Identifier,
    Instant,
    LanguageTag,
    RegionCode,
    TenantName,
    open_set,
)
from sluicegate.schemas.assessment import Categories, Severity
from sluicegate.schemas.post import Kind
from sluicegate.schemas.verdict import Action, DispositionParameters

RESOLUTION_VERSION = "1.1"
_RESOLUTIONS = UUID("3f6f2a52-6a0c-5d5e-9a1c-0b6f6c2f9e21")  # our own namespace


class Authority(StrEnum):
    """Whose word it is. A later one counts for more. The set is closed: precedence rests on it."""

    MACHINE = "machine"
    """Every verdict, and a case that was reopened on purpose."""
    REVIEWER = "reviewer"
    ADJUDICATOR = "adjudicator"
    """Decided between reviewers who disagreed."""
    APPEAL = "appeal"
    """Decided about an author's complaint."""

    @property
    def rank(self) -> int:
        """0 for the machine; a higher one wins."""
        return _RANKS[self]


_RANKS = {authority: rank for rank, authority in enumerate(Authority)}


class Basis(StrEnum):
    """How many people looked, and how."""

    SINGLE = "single"
    DOUBLE = "double"
    """Two people agreed, each without the other's answer."""
    ADJUDICATED = "adjudicated"
    """Two people disagreed, and a third one decided."""
    GOLDEN = "golden"
    """The answer was agreed on beforehand, to measure reviewers by."""
    APPEAL = "appeal"
    BULK = "bulk"
    """A person decided about another post, and this one is a near copy, or one of many that were lifted together."""
    VOTE = "vote"
    """One person's answer that settles nothing by itself. In feedback alone; no resolution has it."""


class ResolutionCause(StrEnum):
    """Why a person was asked."""

    REVIEW = "review"
    """The verdict's action is review."""
    AUDIT = "audit"
    """Chance picked it from all verdicts."""
    MARGIN = "margin"
    """Chance picked it from the verdicts on which the engine was close to another severity."""
    NOVELTY = "novelty"
    """Chance picked it from the posts in languages in which people have decided little."""
    BREAKER = "breaker"
    """The tenant's block-volume breaker withheld a block."""
    FAILURE = "failure"
    """The post could not be scored."""
    APPEAL = "appeal"
    """The author complained."""
    CANDIDATE = "candidate"
    """A candidate beside the machine said something else about it."""
    CANDIDATE_AUDIT = "candidate_audit"
    """Chance picked it from the posts on which a candidate said the same."""
    REOPENED = "reopened"
    """A person withdrew what people had decided: the machine's verdicts count again."""


OpenBasis = Annotated[Annotated[Basis, Field(strict=False)] | Code, LEFT_TO_RIGHT, open_set(Basis)]
OpenCause = Annotated[
    Annotated[ResolutionCause, Field(strict=False)] | Code, LEFT_TO_RIGHT, open_set(ResolutionCause)
]
Seen = Annotated[tuple[Code, ...], Field(max_length=16, strict=False)]


class Resolution(Event):
    """A person's decision about one post. Idempotent on ``resolution_id``; ``precedence`` says when it counts.

    It holds no text, neither the post's nor the reviewer's.
    """

    schema_version: str = RESOLUTION_VERSION
    resolution_id: str
    verdict_id: Identifier = Field(description="The verdict that it supersedes.")
    verdict_judged_at: Instant = Field(description="When that verdict was made: how new the content is.")
    post_id: Identifier
    revision: int = Field(ge=0, le=2**53 - 1)
    tenant: TenantName
    kind: Kind
    content_hash: Digest = Field(
        description="The content that the person saw: the decision counts for no other."
    )
    author_id: Identifier | None = None
    language: LanguageTag | None = None
    region: RegionCode | None = None

    action: Annotated[Action, Field(strict=False)]
    disposition: str = Field(description="Enforcement; an open set that the policy defines.")
    disposition_parameters: DispositionParameters = Field(default_factory=dict)
    severity: Severity | None = Field(description="What the person found; null where a case was reopened.")
    categories: Categories = ()

    authority: Annotated[Authority, Field(strict=False)]
    reviewer: Identifier = Field(description="Pseudonym of the person who decided.")
    role: Code = Field(description="The role in which the person decided; an open set.")
    basis: OpenBasis
    cause: OpenCause
    seen: Seen = Field(
        default=(),
        description="What was shown before the decision, such as `text` and `verdict`; an open set.",
    )
    decided_at: Instant

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.severity == "safe" and self.categories:
            raise ValueError("a safe text has no categories")
        reopened = self.cause == ResolutionCause.REOPENED
        if reopened != (self.authority is Authority.MACHINE):
            raise ValueError("authority is machine exactly where a case was reopened")
        if reopened != (self.severity is None):
            raise ValueError("severity is null exactly where a case was reopened")
        return self

    @property
    def reopens(self) -> bool:
        """True if it withdraws what people had decided on this content before."""
        return self.authority is Authority.MACHINE


def resolution_id(*, verdict_id: str, content: str, decision: str, action: Action) -> str:
    """UUIDv5 of what makes a resolution this one: one id never has two actions, and a repeat has the same.

    Args:
        verdict_id: The verdict superseded.
        content: Hash of the content decided about.
        decision: Id of the decision, which may cover several posts.
        action: The action decided.
    """
    return str(uuid5(_RESOLUTIONS, orjson.dumps([verdict_id, content, decision, action]).decode()))


def feedback_id(resolution: str) -> str:
    """UUIDv5 of the feedback that goes with a resolution, or with a decision that has none; it travels as a header."""
    return str(uuid5(_RESOLUTIONS, f"feedback:{resolution}"))
