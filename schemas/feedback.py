"""Feedback: a reviewer's correction of one verdict, the material of the next adaptation."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from sluicegate.schemas._fields import Code, Digest, Event, Identifier, Instant, Probability
from sluicegate.schemas.assessment import Categories, Reason, Severity
from sluicegate.schemas.post import Post
from sluicegate.schemas.resolution import Basis, OpenBasis

FEEDBACK_VERSION = "1.2"
"""What is written today. A record that does not say its version is of the first one."""


class Feedback(Event):
    """What a reviewer found about a post that was judged. The newest ``reviewed_at`` of a verdict counts.

    Two bases say how a person read, and are no correction: ``vote`` and ``golden``.
    """

    schema_version: str = "1.0"
    verdict_id: Identifier = Field(description="The verdict that was reviewed.")
    post: Post = Field(description="The post as it was judged: the text to learn from.")
    severity: Severity = Field(
        description="What the reviewer found; the same as the verdict's where it was right."
    )
    categories: Categories = Field(default=(), description="Likewise; empty for a safe text.")
    refusal: bool | None = Field(default=None, description="Responses only: did the LLM refuse?")
    reason: Reason | None = Field(default=None, description="The reviewer's reason, on one line.")
    blind: bool = Field(
        description="True if the reviewer decided before seeing the verdict; who saw it leans towards it."
    )
    reviewed_at: Instant
    reviewer: Identifier | None = Field(default=None, description="Pseudonym of the person who reviewed.")
    basis: OpenBasis | None = Field(default=None, description="How many people looked, and how.")
    sampled_by: Code | None = Field(
        default=None,
        description="Why a person was asked, such as `review` or `audit`; an open set. Rates over all verdicts need it.",
    )
    inclusion_probability: Probability | None = Field(
        default=None,
        description="How likely this verdict was to be reviewed under `sampled_by`; its weight is one over this.",
    )

    found: Severity | None = Field(default=None, description="What the verdict said.")
    engine: Digest | None = Field(
        default=None, description="Which engine the verdict names: which model to correct."
    )
    policy: Digest | None = Field(default=None, description="Which policy the verdict names.")

    @property
    def corrects(self) -> bool:
        """False for an answer that only measures: a vote that settled nothing, or one to a case whose answer is known."""
        return self.basis not in (Basis.VOTE, Basis.GOLDEN)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.severity == "safe" and self.categories:
            raise ValueError("a safe text has no categories")
        if self.refusal is not None and self.post.kind != "response":
            raise ValueError("refusal is for responses")
        return self
