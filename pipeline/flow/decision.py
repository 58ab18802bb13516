"""From a finding to the event that leaves: verdicts and dead letters. Pure."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluicegate.engines.protocol import EngineInfo, Explanation, ItemFailure
from sluicegate.pipeline.dead_letters import first_rejected_of, tries_of
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Delivery
from sluicegate.schemas import (
    Action,
    AssessedBy,
    Assessment,
    DeadLetter,
    EngineRef,
    Failure,
    FailureCode,
    MadeVerdict,
    Origin,
    Post,
    RaisedVerdict,
    Rejection,
    Scores,
    Segments,
    Severity,
    Timings,
    WithheldBlock,
    content_hash,
    dead_letter_id,
    verdict_id,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime


# A record's key and headers may be as large as the record: keep what tells its origin.
_KEY_BYTES = 1_024
_HEADERS = 32
_HEADER_BYTES = 1_024
_ORDER = (Action.ALLOW, Action.REVIEW, Action.BLOCK)  # from mild to severe


def engine_reference(info: EngineInfo, *, calibrated: bool = False) -> EngineRef:
    """The engine's stamp on a verdict; ``calibrated`` where its bundle's calibration is applied to its scores."""
    return EngineRef(
        digest=info.digest,
        backend=info.backend,
        model=info.model,
        adapter=info.adapter,
        layout_digest=info.layout_digest,
        calibrated=calibrated,
    )


def assess(
    scores: Scores, explanation: Explanation | ItemFailure | None, explained_as: Severity | None = None
) -> Assessment:
    """Put an engine's two answers together. The scores alone give the severity.

    Args:
        scores: The first answer.
        explanation: The second, where it was asked for.
        explained_as: The severity that it was made to begin with; without: the one that the scores give.
    """
    plain = Assessment(scores=scores, severity=scores.severity, assessed_by=AssessedBy.ENGINE)
    if explanation is None:
        return plain
    if isinstance(explanation, ItemFailure):
        return plain.model_copy(update={"explanation_failure": explanation.code})
    try:
        return Assessment(
            scores=scores,
            severity=scores.severity,
            assessed_by=AssessedBy.ENGINE,
            explained_as=explained_as or scores.severity,
            explained_by=explanation.by,
            categories=explanation.categories,
            category_scores=explanation.category_scores,
            reason=explanation.reason,
            refusal=explanation.refusal,
        )
    except ValidationError:  # beyond the contract's limits, whatever backend let it through
        return plain.model_copy(update={"explanation_failure": FailureCode.UNPARSABLE})


@dataclass(slots=True)
class Provenance:
    """Where a finding comes from and when, beside the policy."""

    engine: EngineRef
    assessed_by: AssessedBy
    reused_from: str | None
    segments: Segments
    timings: Timings
    judged_at: datetime
    form_rules: tuple[str, ...] = ()
    """The rules that folded the text, where its folded form decided."""


def decide(
    post: Post, finding: Assessment | ItemFailure, policy: Policy, provenance: Provenance
) -> MadeVerdict:
    """Make the verdict on one post.

    A finding that is a failure gives the tenant's failure mode; it never carries scores or a
    severity, so that nothing downstream can read it as safe.
    """
    if isinstance(finding, Assessment):
        assessment, failure, outcome = finding, None, "judged"
        decision = policy.decide(post, assessment.scores, assessment)
    else:
        decision = policy.decide_failure(post)
        assessment, failure = None, Failure(code=finding.code, mode=decision.action)
        outcome = f"failure:{finding.code.value}"
    content = content_hash(post)
    identity = verdict_id(
        post,
        content=content,
        policy_digest=policy.digest,
        engine=provenance.engine,
        outcome=outcome,
        action=decision.action,
    )
    return MadeVerdict(
        verdict_id=identity,
        post_id=post.id,
        revision=post.revision,
        tenant=post.tenant,
        kind=post.kind,
        content_hash=content,
        author_id=post.author_id,
        language=post.language,
        region=post.region,
        action=decision.action,
        disposition=decision.disposition,
        disposition_parameters=dict(decision.parameters),
        severity=assessment.severity if assessment else None,
        scores=assessment.scores if assessment else None,
        categories=assessment.categories if assessment else (),
        category_scores=assessment.category_scores if assessment else {},
        reason=assessment.reason if assessment else None,
        refusal=assessment.refusal if assessment else None,
        explained_as=assessment.explained_as if assessment else None,
        explained_by=assessment.explained_by if assessment else None,
        explanation_failure=assessment.explanation_failure if assessment else None,
        failure=failure,
        assessed_by=provenance.assessed_by if assessment else AssessedBy.NONE,
        # Its own id here would mean "reused from myself": a repeat of one post within the cache.
        reused_from=provenance.reused_from if assessment and provenance.reused_from != identity else None,
        policy=policy.reference(decision.rule),
        engine=provenance.engine,
        form="folded" if provenance.form_rules else "original",
        form_rules=provenance.form_rules,
        segments=provenance.segments,
        timings=provenance.timings,
        judged_at=provenance.judged_at,
    )


def withhold(verdict: MadeVerdict, post: Post, policy: Policy, *, open_since: datetime) -> MadeVerdict:
    """Make of a judged block the review that it becomes while its tenant's breaker is open.

    Args:
        verdict: A block that the policy decided from scores.
        post: The post it is about.
        policy: The policy that decided.
        open_since: When the breaker tripped.

    Raises:
        ValueError: The verdict has no scores: a failure mode is no block of a rule or a model.
    """
    if verdict.scores is None:
        raise ValueError("a verdict without scores cannot be withheld")
    decision = policy.withhold(verdict, verdict.scores, verdict)
    identity = verdict_id(
        post,
        content=verdict.content_hash,
        policy_digest=policy.digest,
        engine=verdict.engine,
        outcome="pattern" if verdict.reason_codes else "breaker",
        action=decision.action,
    )
    withheld = WithheldBlock(
        action=verdict.action,
        disposition=verdict.disposition,
        disposition_parameters=verdict.disposition_parameters,
        open_since=open_since,
    )
    return replace(
        verdict,
        verdict_id=identity,
        action=decision.action,
        disposition=decision.disposition,
        disposition_parameters=dict(decision.parameters),
        breaker=withheld,
        reused_from=verdict.reused_from if verdict.reused_from != identity else None,
    )


def raise_allow(
    verdict: MadeVerdict, post: Post, policy: Policy, *, code: str, confirmed: bool
) -> MadeVerdict:
    """Make of an allow what it becomes because the post is a copy of a shared pattern.

    That is a review. It is a block only where the tenant's policy wants one, and people here confirmed the pattern.

    Args:
        verdict: An allow, by a rule or by a failure mode.
        post: The post it is about.
        policy: The policy that decided.
        code: The reason code, which names the pattern.
        confirmed: True if people here confirmed the pattern.

    Raises:
        ValueError: The verdict is no allow: a pattern changes nothing else.
    """
    if verdict.action is not Action.ALLOW:
        raise ValueError("a pattern raises what the policy allows, and nothing else")
    decision = policy.raised(verdict, verdict.scores, verdict, confirmed=confirmed)
    identity = verdict_id(
        post,
        content=verdict.content_hash,
        policy_digest=policy.digest,
        engine=verdict.engine,
        outcome="pattern",
        action=decision.action,
    )
    changes: dict[str, Any] = {
        "verdict_id": identity,
        "action": decision.action,
        "disposition": decision.disposition,
        "disposition_parameters": dict(decision.parameters),
        "reused_from": verdict.reused_from if verdict.reused_from != identity else None,
    }
    if decision.action is Action.BLOCK:  # a review keeps the rule that allowed: its code says the rest
        changes["policy"] = policy.reference(decision.rule)
    return RaisedVerdict(**vars(verdict) | changes, reason_codes=(code,))


def policys_action(verdict: MadeVerdict) -> Action:
    """What the policy itself decided, before a breaker withheld a block or a shared pattern raised an allow."""
    if verdict.reason_codes:
        return Action.ALLOW
    return verdict.action if verdict.breaker is None else verdict.breaker.action


def worst(
    post: Post,
    findings: Sequence[Assessment | ItemFailure],
    policy: Policy,
    *,
    folded: Collection[int] = (),
    least_unsafe: Mapping[int, float] = MappingProxyType({}),
) -> int:
    """Index of the finding that decides a post of several parts.

    The severest action decides. Where a part that failed leads to the same action as one that was
    judged, the failure decides: a text of which a part went unread must not read as judged. With the
    folded form it is the other way round: it is judged beyond the text, which was read.

    Args:
        post: The post.
        findings: Of each part.
        policy: Decides about each.
        folded: Which of the parts are the folded form's.
        least_unsafe: By part: the P(unsafe) below which it does not decide, if it was judged. Never of all parts.
    """

    def weight(number: int) -> tuple[int, int, float, float]:
        finding = findings[number]
        if isinstance(finding, Assessment):
            if finding.scores.unsafe < least_unsafe.get(number, 0.0):
                return -1, 0, 0.0, 0.0
            action = policy.decide(post, finding.scores, finding).action
            return _ORDER.index(action), 0, finding.scores.unsafe, finding.scores.controversial
        return _ORDER.index(policy.decide_failure(post).action), -1 if number in folded else 1, 0.0, 0.0

    return max(range(len(findings)), key=weight) if len(findings) > 1 else 0


def bury(delivery: Delivery, rejection: Rejection, *, payload_bytes: int, now: datetime) -> DeadLetter:
    """Make the dead letter of a record that can never be judged.

    Args:
        delivery: The record.
        rejection: Why.
        payload_bytes: How much of the payload is kept; hash and length cover the whole.
        now: The time of rejection, UTC.
    """
    payload, key = delivery.value or b"", delivery.key
    topic, partition = delivery.partition
    origin = Origin(
        topic=topic, partition=partition, offset=delivery.offset, timestamp_ms=delivery.timestamp_ms
    )
    headers = tuple(
        (name[:_HEADER_BYTES], None if value is None else _base64(value[:_HEADER_BYTES]))
        for name, value in delivery.headers[:_HEADERS]
    )
    whole = (
        len(payload) <= payload_bytes
        and len(key or b"") <= _KEY_BYTES
        and len(delivery.headers) <= _HEADERS
        and all(max(len(name), len(value or b"")) <= _HEADER_BYTES for name, value in delivery.headers)
    )
    return DeadLetter(
        dead_letter_id=dead_letter_id(origin),
        code=rejection.code,
        detail=rejection.detail,
        origin=origin,
        key=None if key is None else _base64(key[:_KEY_BYTES]),
        headers=headers,
        payload=_base64(payload[:payload_bytes]),
        payload_bytes=len(payload),
        payload_hash=f"sha256:{hashlib.sha256(payload).hexdigest()}",
        truncated=not whole,
        rejected_at=now,
        first_rejected_at=first_rejected_of(delivery.headers, now),
        tries=tries_of(delivery.headers),
    )


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
