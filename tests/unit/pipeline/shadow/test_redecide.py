"""A candidate policy on recorded scores: as `policy diff` has it, and missing where nobody can know."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.diff import Diff
from sluicegate.pipeline.shadow.comparison import Comparison, Judges, Outcome, Pairs, Seat, side
from sluicegate.pipeline.shadow.redecide import redecided
from sluicegate.schemas import Action, Verdict

DIGEST = f"sha256:{'0' * 64}"


def policy(engines: tuple[str, ...] = (), **rules: Any) -> Policy:
    document = {"name": "p", "version": "1", "rules": rules}
    return Policy.parse(document | ({"engines": [*engines]} if engines else {}))


OLD = policy()
STRICT = policy(block_at={"unsafe": 0.3})
MILD = policy(block_at={"unsafe": 0.99})


def verdict(unsafe: float | None, number: int = 0, decided_by: Policy = OLD, **fields: Any) -> Verdict:
    """What a worker with a policy publishes for a post with these scores."""
    found: dict[str, Any] = {"failure": {"code": "timed_out", "mode": "review"}, "assessed_by": "none"}
    if unsafe is not None:
        scores = {"safe": 1 - unsafe, "controversial": 0.0, "unsafe": unsafe}
        found = {"scores": scores, "assessed_by": "engine"}
    severity = None if unsafe is None else "unsafe" if unsafe > 0.5 else "safe"
    document = {
        "verdict_id": f"v{number}",
        "post_id": f"p{number}",
        "revision": 0,
        "tenant": "default",
        "kind": "post",
        "content_hash": DIGEST,
        "action": "allow",
        "disposition": "none",
        "severity": severity,
        "explained_as": severity,
        "policy": {"name": "p", "version": "1", "digest": decided_by.digest, "rule": "r"},
        "engine": {"digest": DIGEST, "backend": "fake", "model": "fake", "layout_digest": DIGEST},
        "timings": {"queued_ms": 0, "engine_ms": 0, "total_ms": 0},
        "judged_at": "2026-01-01T00:00:00Z",
        **found,
        **fields,
    }
    made = Verdict.model_validate_json(json.dumps(document))
    decided = (
        decided_by.decide_failure(made) if made.scores is None else decided_by.decide(made, made.scores, made)
    )
    return made.model_copy(update={"action": decided.action})


@pytest.mark.parametrize(
    ("new", "unsafe", "outcome"),
    [
        (STRICT, 0.4, Outcome.STRICTER),
        (MILD, 0.97, Outcome.PERMISSIVE),
        (STRICT, 0.01, Outcome.AGREE),
        (STRICT, None, Outcome.BOTH_FAILED),
    ],
)
def test_a_policy_decides_recorded_scores(new: Policy, unsafe: float | None, outcome: Outcome) -> None:
    given_ = verdict(unsafe)
    found = redecided(given_, OLD, new)
    assert found is not None
    assert found.cohort == side(given_).cohort._replace(policy=new.digest)
    assert Comparison(side(given_), found).outcome is outcome


@given(
    st.lists(st.none() | st.floats(0, 1), max_size=30),
    st.sampled_from([STRICT, MILD, policy(categories={"PII": {"block_at": {"unsafe": 0.2}}})]),
)
def test_it_says_what_a_policy_diff_says(scores: list[float | None], new: Policy) -> None:
    verdicts = [verdict(unsafe, number) for number, unsafe in enumerate(scores)]
    difference, found = Diff(OLD, new), Counter[Outcome]()
    pairs = Pairs(Judges(frozenset({DIGEST}), OLD.digest), Judges(frozenset({DIGEST}), new.digest))
    for one in verdicts:
        difference.add(one)
        now = one.judged_at.timestamp()
        candidate = redecided(one, OLD, new)
        closed = pairs.take(Seat.INCUMBENT, side(one), now)
        closed += pairs.take(Seat.CANDIDATE, candidate, now) if candidate else []
        found.update(pair.outcome for pair in closed)
    found.update(pair.outcome for pair in pairs.drain())
    failed = sum(unsafe is None for unsafe in scores)
    assert found[Outcome.BOTH_FAILED] == failed
    assert found[Outcome.STRICTER] == difference.stricter
    assert found[Outcome.PERMISSIVE] == difference.milder
    assert found[Outcome.CANDIDATE_MISSING] == difference.undecidable
    assert found[Outcome.AGREE] == difference.unchanged + difference.disposition_only - failed


def test_what_hangs_on_a_category_that_nobody_knows_is_missing() -> None:
    new = policy(categories={"PII": {"block_at": {"unsafe": 0.2}}})
    assert redecided(verdict(0.3, explained_as=None), OLD, new) is None


def test_scores_of_another_adapter_or_for_another_engine_are_missing() -> None:
    adapted = policy(adapter="teens")
    assert redecided(verdict(0.3), OLD, adapted) is None
    assert redecided(verdict(0.3), adapted, adapted) is not None
    assert redecided(verdict(0.3), OLD, policy((f"sha256:{'9' * 64}",))) is None
    assert redecided(verdict(0.3), OLD, policy((DIGEST,))) is not None


def test_a_block_that_a_breaker_withheld_is_decided_again_as_what_it_was() -> None:
    withheld = verdict(0.97).model_copy(update={"action": Action.REVIEW})
    found = redecided(withheld, OLD, OLD)
    assert found is not None
    assert found.action is Action.BLOCK
