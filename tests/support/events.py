"""Hypothesis strategies for every event: any record that today's models can produce."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from sluicegate.schemas import (
    Action,
    AssessedBy,
    Authority,
    Basis,
    DeadLetter,
    EngineRef,
    Failure,
    FailureCode,
    MadeVerdict,
    Origin,
    PolicyRef,
    Post,
    RaisedVerdict,
    ReasonCode,
    Resolution,
    ResolutionCause,
    Scores,
    Segments,
    Timings,
    Turn,
    Verdict,
    WithheldBlock,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

HIDDEN = (
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\ufeff"
    + "".join(map(chr, range(0x2066, 0x2070)))
)
"""What an identifier may not hold, beside control characters."""

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
identifiers = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=HIDDEN), min_size=1, max_size=256
)
tenants = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
languages = st.from_regex(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}", fullmatch=True)
regions = st.from_regex(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=offsets | st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
revisions = st.integers(0, 2**53 - 1)
probabilities = st.floats(0, 1)
milliseconds = st.floats(0, 1e12)
categories = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
parameters = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True),
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=256),
    max_size=16,
)
metadata = st.dictionaries(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=HIDDEN), min_size=1, max_size=64
    ),
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=512),
    max_size=32,
)


def _scores(unsafe: float, share: float) -> Scores:
    safe = (1 - unsafe) * share
    return Scores(safe=safe, controversial=max(0.0, 1 - unsafe - safe), unsafe=unsafe)


scores = st.builds(_scores, probabilities, probabilities)
turns = st.builds(Turn, role=st.sampled_from(["user", "assistant"]), text=texts)
posts: SearchStrategy[Post] = st.builds(
    Post,
    id=identifiers,
    text=texts,
    kind=st.sampled_from(["post", "prompt", "response"]),
    context=st.none() | texts | st.lists(turns, min_size=1, max_size=4).map(tuple),
    tenant=tenants,
    author_id=st.none() | identifiers,
    language=st.none() | languages,
    region=st.none() | regions,
    created_at=st.none() | moments,
    revision=revisions,
    metadata=metadata,
)
engines = st.builds(
    EngineRef, digest=digests, backend=texts, model=texts, adapter=st.none() | texts, layout_digest=digests
)
policies = st.builds(PolicyRef, name=texts, version=texts, digest=digests, rule=texts)

withheld_blocks = st.builds(
    WithheldBlock,
    action=st.just(Action.BLOCK),
    disposition=texts,
    disposition_parameters=parameters,
    open_since=moments,
)


@st.composite
def _verdicts(draw: st.DrawFn) -> Verdict:
    failed = draw(st.booleans())
    found: dict[str, Any] = {"severity": None, "assessed_by": AssessedBy.NONE}
    if failed:
        found["failure"] = draw(
            st.builds(Failure, code=st.sampled_from(FailureCode), mode=st.sampled_from(Action))
        )
    else:
        drawn = draw(scores)
        withheld = draw(withheld_blocks) if draw(st.booleans()) else None
        found = {
            "breaker": withheld,
            "scores": drawn,
            "severity": drawn.severity,
            "assessed_by": draw(st.sampled_from([by for by in AssessedBy if by is not AssessedBy.NONE])),
            "categories": tuple(draw(st.lists(categories, max_size=16))),
            "category_scores": draw(st.dictionaries(categories, probabilities, max_size=9)),
            "reason": draw(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=400)),
            "refusal": draw(st.none() | st.booleans()),
            "explained_as": draw(st.none() | st.sampled_from(["safe", "controversial", "unsafe"])),
            "explanation_failure": draw(st.none() | st.sampled_from(FailureCode)),
            "reused_from": draw(st.none() | st.uuids().map(str)),
        }
        if rules := draw(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True), max_size=32)):
            found |= {"form": "folded", "form_rules": tuple(rules)}
    return Verdict(
        verdict_id=str(draw(st.uuids())),
        post_id=draw(identifiers),
        revision=draw(revisions),
        tenant=draw(tenants),
        kind=draw(st.sampled_from(["post", "prompt", "response"])),
        content_hash=draw(digests),
        author_id=draw(st.none() | identifiers),
        language=draw(st.none() | languages),
        region=draw(st.none() | regions),
        action=Action.REVIEW if found.get("breaker") else draw(st.sampled_from(Action)),
        disposition=draw(texts),
        disposition_parameters=draw(parameters),
        policy=draw(policies),
        engine=draw(engines),
        segments=draw(
            st.builds(
                Segments,
                count=st.integers(1, 1000),
                deciding=st.integers(0, 999),
                start=st.integers(0, 10**6),
                end=st.none() | st.integers(0, 10**6),
                context_cut_characters=st.integers(0, 10**6),
            )
        ),
        timings=draw(
            st.builds(Timings, queued_ms=milliseconds, engine_ms=milliseconds, total_ms=milliseconds)
        ),
        judged_at=draw(moments),
        **found,
    )


verdicts: SearchStrategy[Verdict] = _verdicts()


codes = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)


@st.composite
def _resolutions(draw: st.DrawFn) -> Resolution:
    verdict = draw(verdicts)
    authority = draw(st.sampled_from(Authority))
    reopens = authority is Authority.MACHINE
    causes = [one for one in ResolutionCause if one is not ResolutionCause.REOPENED]
    severity: Any = None if reopens else draw(st.sampled_from(["safe", "controversial", "unsafe"]))
    names = ("post_id", "revision", "tenant", "kind", "content_hash", "author_id", "language", "region")
    return Resolution(
        resolution_id=str(draw(st.uuids())),
        verdict_id=verdict.verdict_id,
        verdict_judged_at=verdict.judged_at,
        **{name: getattr(verdict, name) for name in names},
        action=draw(st.sampled_from(Action)),
        disposition=draw(texts),
        disposition_parameters=draw(parameters),
        severity=severity,
        categories=() if severity in {None, "safe"} else tuple(draw(st.lists(categories, max_size=16))),
        authority=authority,
        reviewer=draw(identifiers),
        role=draw(codes),
        basis=draw(st.sampled_from(Basis)),
        cause=ResolutionCause.REOPENED if reopens else draw(st.sampled_from(causes)),
        seen=tuple(draw(st.lists(codes, max_size=16))),
        decided_at=draw(moments),
    )


resolutions: SearchStrategy[Resolution] = _resolutions()


def made_of(verdict: Verdict) -> MadeVerdict:
    """A verdict as a worker puts it together."""
    fields = {name: getattr(verdict, name) for name in Verdict.model_fields}
    if not fields["reason_codes"]:
        del fields["reason_codes"]
        return MadeVerdict(**fields)
    return RaisedVerdict(**fields)


origins = st.builds(
    Origin,
    topic=texts,
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp_ms=st.none() | st.integers(-1, 2**53),
)
dead_letters: SearchStrategy[DeadLetter] = st.builds(
    DeadLetter,
    dead_letter_id=st.uuids().map(str),
    code=st.sampled_from(ReasonCode),
    detail=st.text(st.characters(exclude_categories=["Cs"]), max_size=512),
    origin=origins,
    key=st.none() | texts,
    headers=st.lists(st.tuples(texts, st.none() | texts), max_size=4).map(tuple),
    payload=texts,
    payload_bytes=st.integers(0, 2**40),
    payload_hash=digests,
    truncated=st.booleans(),
    rejected_at=moments,
    first_rejected_at=st.none() | moments,
    tries=st.integers(1, 10**6),
)
