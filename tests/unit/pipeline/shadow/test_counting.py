"""Counting in the shadow phase: what counts, from when on, and that a kill at any moment changes nothing."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow.certificate import CertificateTerms
from sluicegate.pipeline.shadow.comparison import Seat
from sluicegate.pipeline.shadow.counting import Counting
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.states import JudgeDigests
from sluicegate.pipeline.shadow.summary import Experiment, covered
from sluicegate.schemas import Verdict
from unit.pipeline.shadow.test_redecide import DIGEST, MILD, OLD, verdict

LIVE, SHADOW = Seat.INCUMBENT, Seat.CANDIDATE
AT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
TERMS = CertificateTerms(max_permissive=0.2, max_shift=0.5, min_posts=5)


def counting(share: float = 1.0, name: str = "e", **fields: Any) -> Counting:
    return Counting(
        Experiment(
            name=name,
            share=share,
            incumbent=JudgeDigests(engines=(DIGEST,), policy=OLD.digest),
            candidate=JudgeDigests(engines=(DIGEST,), policy=MILD.digest),
            terms=TERMS,
        ),
        **fields,
    )


def judged(seat: Seat, number: int, unsafe: float = 0.1) -> Verdict:
    made = verdict(
        unsafe,
        number,
        OLD if seat is LIVE else MILD,
        post_id=f"p{number}",
        content_hash=f"sha256:{number:064x}",
    )
    return made.model_copy(update={"verdict_id": f"{seat} {number}"})


def test_a_candidate_that_skips_half_of_the_posts_is_not_certified_while_they_wait() -> None:
    found = counting()
    for number in range(400):
        found.take(LIVE, judged(LIVE, number), AT + number / 100)
        if number % 2 == 0:
            found.take(SHADOW, judged(SHADOW, number), AT + number / 100)
    conclusion = found.summary()["conclusion"]
    assert conclusion["ruling"] == "open"
    assert conclusion["reasons"][0].startswith(
        "both judged 49.75%"
    )  # of the first post, the live verdict came before it began
    assert covered(found.summary()) == pytest.approx(199 / 400)


def test_nothing_counts_before_the_candidate_has_judged_something() -> None:
    found = counting()
    for number in range(10):
        found.take(LIVE, judged(LIVE, number), AT + number)
    assert found.began_at is None
    assert len(found.pairs) == 0
    found.take(SHADOW, judged(SHADOW, 11), AT + 11)
    found.take(LIVE, judged(LIVE, 11), AT + 11)
    assert found.tally.all.contents == 1, "what was not judged before is not missing"


def test_a_verdict_of_somebody_else_does_not_begin_an_experiment() -> None:
    found = counting()
    found.take(SHADOW, judged(LIVE, 1), AT)
    assert found.began_at is None


def test_only_the_sample_is_expected() -> None:
    found, names = counting(share=0.3), [f"p{number}" for number in range(100)]
    for number in range(100):
        found.take(SHADOW, judged(SHADOW, number), AT + number)
        found.take(LIVE, judged(LIVE, number), AT + number)
    assert found.tally.all.contents == sum(ShadowSample("e", 0.3).holds("default", one) for one in names)


def test_what_the_candidate_does_not_judge_in_time_is_missing_and_the_coverage_falls() -> None:
    found = counting(wait_s=60)
    found.take(SHADOW, judged(SHADOW, 0), AT)
    for number in range(10):
        found.take(LIVE, judged(LIVE, number), AT + number)
    assert found.tally.all.contents == 1
    found.advance(AT + 100)
    assert found.tally.all.contents == 10
    assert found.summary()["tally"]["coverage"] == 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sets(st.integers(0, 60), max_size=4))
def test_a_kill_at_any_moment_changes_no_count(seed: int, kills: set[int]) -> None:
    rng = random.Random(seed)
    stream = [(seat, judged(seat, number, rng.choice([0.1, 0.9]))) for number in range(20) for seat in Seat]
    stream += rng.sample(stream, 20)  # delivery is at least once
    rng.shuffle(stream)
    whole, killed = counting(), counting()
    for place, (seat, one) in enumerate(stream):
        if place in kills:
            killed = counting().restore(killed.encode())
        asked = [found.take(seat, one, AT + place) for found in (whole, killed)]
        assert asked[0] == asked[1]
    assert killed.summary() == whole.summary()
    assert killed.encode() == whole.encode()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 2}', b"{"])
def test_a_file_that_is_none_is_refused_with_the_fix(content: bytes) -> None:
    with pytest.raises(CandidateError, match="move it away"):
        counting().restore(content)


def test_the_counts_of_another_experiment_are_refused() -> None:
    with pytest.raises(CandidateError, match="a file of its own"):
        counting(name="other").restore(counting().encode())
