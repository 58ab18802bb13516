"""Records of the topic of comparisons: posts that people shall judge blindly, and what is known of an experiment. Pure.

They hold no text. Who has the post already, as the review desk has, joins it by tenant, post, revision and content hash.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.pipeline.policy.document import TenantName
from sluicegate.pipeline.shadow.comparison import Comparison, JudgedContent, Outcome
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.schemas import Action
from sluicegate.schemas._fields import Digest, Identifier

MOST_BYTES = 900_000
"""A record has no more. A summary with 200 strata in each dimension has half of that."""


class _ComparisonsRecord(BaseModel):
    """What records of this topic share. Fields that a newer version adds are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    experiment: TenantName

    def encode(self) -> bytes:
        """The record's value."""
        return self.model_dump_json().encode()


class ComparedPost(_ComparisonsRecord):
    """A post that both judged, and that a person shall judge without seeing either action."""

    kind: Literal["comparison"] = "comparison"
    tenant: TenantName
    post_id: Identifier
    revision: int = Field(ge=0, le=2**53 - 1)
    content_hash: Digest
    incumbent: Annotated[Action, Field(strict=False)]
    candidate: Annotated[Action, Field(strict=False)]
    verdict_id: Identifier = Field(description="The incumbent's verdict, which acted.")
    probability: float = Field(gt=0, le=1, description="How likely such a post was to be asked about.")

    @property
    def content(self) -> JudgedContent:
        """What was judged."""
        return JudgedContent(self.tenant, self.post_id, self.revision, self.content_hash)

    @property
    def differs(self) -> bool:
        """True if the two disagree; else chance picked it from the posts on which they agree."""
        return self.incumbent is not self.candidate


class SummaryRecord(_ComparisonsRecord):
    """What is known of an experiment, as :func:`~sluicegate.pipeline.shadow.summary.summarise` says it."""

    kind: Literal["summary"] = "summary"
    document: dict[str, Any]


def read_record(value: bytes) -> ComparedPost | SummaryRecord | None:
    """Read a record's value; None if it is none of these."""
    if len(value) > MOST_BYTES:
        return None
    try:
        found = orjson.loads(value)
        kind = found.get("kind") if isinstance(found, dict) else None
        if kind == "comparison":
            return ComparedPost.model_validate(found)
        return SummaryRecord.model_validate(found) if kind == "summary" else None
    except (orjson.JSONDecodeError, ValidationError, TypeError):
        return None


def to_review(
    experiment: str, comparison: Comparison, *, is_evidence: bool, audit_share: float
) -> ComparedPost | None:
    """The record that asks people about a comparison; None if nobody is asked.

    They are asked about every disagreement that is evidence, and about a share of the posts on which both agree. So
    what both overlook is seen, too. Of copies the first one is asked about.

    Args:
        experiment: Its name.
        comparison: What both said.
        is_evidence: What :meth:`~sluicegate.pipeline.shadow.tally.Tally.add` answered.
        audit_share: How likely a post is to be asked about on which both agree.
    """
    incumbent, candidate = comparison.incumbent, comparison.candidate
    if incumbent is None or candidate is None or not is_evidence or not comparison.outcome.is_compared:
        return None
    content = incumbent.content
    agrees = comparison.outcome is Outcome.AGREE
    # Of a sample of its own: a greater share of the shadow changes nothing about who is asked.
    if agrees and not ShadowSample(f"{experiment} audit", audit_share).holds(content.tenant, content.post_id):
        return None
    return ComparedPost(
        experiment=experiment,
        tenant=content.tenant,
        post_id=content.post_id,
        revision=content.revision,
        content_hash=content.content_hash,
        incumbent=incumbent.action,
        candidate=candidate.action,
        verdict_id=incumbent.verdict_id,
        probability=audit_share if agrees else 1.0,
    )
