"""Counting while a candidate acts: verdicts of both stand on both topics, and are told apart by who judged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.shadow.certificate import CertificateTerms
from sluicegate.pipeline.shadow.comparison import Outcome, Seat
from sluicegate.pipeline.shadow.counting import Counting, Policies
from sluicegate.pipeline.shadow.states import JudgeDigests
from sluicegate.pipeline.shadow.summary import Experiment
from sluicegate.schemas import Resolution, Verdict
from unit.pipeline.shadow.test_redecide import DIGEST, MILD, OLD, verdict

LIVE, SHADOW = Seat.INCUMBENT, Seat.CANDIDATE
AT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def counting(policies: Policies | None = None) -> Counting:
    experiment = Experiment(
        name="retrained",
        share=1.0,
        incumbent=JudgeDigests(engines=(DIGEST,), policy=OLD.digest),
        candidate=JudgeDigests(engines=(DIGEST,), policy=MILD.digest),
        terms=CertificateTerms(max_permissive=0.005, max_shift=0.02),
    )
    made = Counting(experiment, policies=policies)
    made.began_at = AT - 1
    return made


def both(into: Counting, number: int, *, acts: bool, unsafe: float = 0.9) -> None:
    """A post that one judge acts on, and the other judges in the shadow. Old blocks it, new sends it to review."""
    old, new = (
        verdict(unsafe, number, policy, post_id=f"p{number}", content_hash=f"sha256:{number:064x}")
        for policy in (OLD, MILD)
    )
    old = old.model_copy(update={"verdict_id": f"old{number}"})
    new = new.model_copy(update={"verdict_id": f"new{number}"})
    into.take(LIVE, new if acts else old, AT + number)
    into.take(SHADOW, old if acts else new, AT + number)


def test_posts_on_which_the_candidate_acts_are_compared_as_before_and_counted_apart() -> None:
    found = counting()
    for number in range(60):
        both(found, number, acts=number >= 20)
    assert (found.before.posts, found.before.milder, found.before.differ) == (20, 20, 20)
    assert (found.acting.posts, found.acting.milder) == (40, 40)
    assert found.tally.all.contents == 60
    assert found.tally.all.coverage == 1
    (milder, *_) = found.against(0.5)
    assert milder == "it is milder on more than 0.50% of the posts: 40 of 40"


def test_a_candidate_that_is_a_policy_needs_no_shadow_in_either_phase() -> None:
    found = counting(Policies(OLD, MILD))
    for number in range(10):
        made = verdict(0.9, number, MILD if number % 2 else OLD, content_hash=f"sha256:{number:064x}")
        found.take(LIVE, made, AT + number)
    assert (found.before.milder, found.acting.milder) == (5, 5)


def test_since_when_the_candidate_acts_alone_is_known_and_one_verdict_of_the_incumbent_ends_it() -> None:
    found = counting()
    seen = []
    for number, acts in enumerate((False, True, True, False), start=1):
        both(found, number, acts=acts)
        seen.append(found.candidate_since)
    assert seen == [None, AT, AT, None]


def withheld_by(policy: Policy, number: int) -> Verdict:
    made = verdict(0.999, number, policy).model_dump(mode="json")
    breaker = {"action": "block", "disposition": "takedown", "open_since": "2026-01-01T00:00:00Z"}
    return Verdict.model_validate(made | {"action": "review", "breaker": breaker}, strict=False)


def test_a_withheld_block_of_the_candidate_tells_that_its_breaker_opened() -> None:
    found = counting()
    found.take(LIVE, withheld_by(OLD, 1), AT)
    assert found.against(0.5) == ()
    found.take(LIVE, withheld_by(MILD, 2), AT)
    assert found.against(0.5) == ("1 block-volume breakers opened under its policy",)


def raised_by_a_pattern(policy: Policy, number: int, **more: Any) -> Verdict:
    made = verdict(0.1, number, policy).model_dump(mode="json")
    raised = {"action": "review", "disposition": "queue", "reason_codes": [f"shared_pattern_{'0' * 16}"]}
    return Verdict.model_validate(made | raised | more, strict=False)


@pytest.mark.parametrize(("live", "beside"), [(OLD, MILD), (MILD, OLD)])
def test_what_a_shared_pattern_raises_is_no_difference_between_two_judges(
    live: Policy, beside: Policy
) -> None:
    found = counting()
    for number in range(300):
        found.take(LIVE, raised_by_a_pattern(live, number), AT + number)
        found.take(SHADOW, verdict(0.1, number, beside), AT + number)
    assert found.tally.all.outcomes[Outcome.AGREE] == found.tally.all.contents == 300
    assert found.against(0.5) == ()


def test_a_flood_that_a_pattern_blocks_is_no_fault_of_the_candidate() -> None:
    found = counting()
    breaker = {"action": "block", "disposition": "takedown", "open_since": "2026-01-01T00:00:00Z"}
    found.take(LIVE, raised_by_a_pattern(MILD, 1, breaker=breaker), AT)
    assert found.against(0.5) == ()


def overturning(verdict_id: str, number: int, action: str = "allow", **fields: Any) -> Resolution:
    return Resolution.model_validate(
        {
            "resolution_id": f"r{number}",
            "verdict_id": verdict_id,
            "verdict_judged_at": "2026-01-01T00:00:00Z",
            "post_id": f"p{number}",
            "revision": 0,
            "tenant": "default",
            "kind": "post",
            "content_hash": f"sha256:{number:064x}",
            "action": action,
            "disposition": "none",
            "severity": "safe",
            "authority": "reviewer",
            "reviewer": "ada",
            "role": "reviewer",
            "basis": "text",
            "cause": "appeal",
            "seen": [],
            "decided_at": "2026-01-01T00:01:00Z",
        }
        | fields
    )


def test_what_people_overturn_counts_once_and_for_the_judge_that_acted() -> None:
    found = counting()
    both(found, 0, acts=True, unsafe=0.999)
    for number in range(1, 9):
        both(found, number, acts=number % 2 == 0, unsafe=0.999)
    for number in (2, 4, 4, 1):
        found.resolve(overturning(f"{'old' if number % 2 else 'new'}{number}", number))
    found.resolve(overturning("new6", 6, action="block"))  # upheld
    found.resolve(
        overturning("new8", 8, severity=None, authority="machine", cause="reopened")
    )  # opened again
    assert (found.acting.overturned, found.acting.overturned_incumbent) == (2, 1)


def test_all_of_it_is_kept_over_a_restart() -> None:
    found = counting()
    for number in range(6):
        both(found, number, acts=number % 2 == 0)
    found.take(
        LIVE, verdict(0.9, 9, MILD, content_hash=f"sha256:{9:064x}"), AT
    )  # its counterpart comes after the restart
    again = counting().restore(found.encode())
    assert (again.before, again.acting, again.candidate_since) == (
        found.before,
        found.acting,
        found.candidate_since,
    )
    again.take(SHADOW, verdict(0.9, 9, OLD, content_hash=f"sha256:{9:064x}"), AT)
    assert again.acting.posts == found.acting.posts + 1


def test_what_people_overturn_after_a_restart_counts_as_before() -> None:
    found = counting()
    for number in range(4):
        both(found, number, acts=number % 2 == 0, unsafe=0.999)
    again = counting().restore(found.encode())
    again.resolve(overturning("new2", 2))
    again.resolve(overturning("old3", 3))
    both(again, 5, acts=False, unsafe=0.999)
    again.resolve(overturning("old5", 5))
    assert (again.acting.overturned, again.acting.overturned_incumbent) == (1, 2)
