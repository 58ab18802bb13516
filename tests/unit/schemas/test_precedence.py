"""Which record on a post counts: the same one in whatever order they come."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.schemas import precedence
from sluicegate.schemas.precedence import CLAIMS_MOST, Claim

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def machine(content: str, at: int, *, revision: int = 0) -> Claim:
    when = NOON + timedelta(seconds=at)
    return Claim(revision, content, when, 0, when, f"{content}{at}")


def person(
    content: str, at: int, *, of: int, authority: int = 1, revision: int = 0, reopens: bool = False
) -> Claim:
    """Somebody decides about the verdict of second ``of``."""
    judged, decided = NOON + timedelta(seconds=of), NOON + timedelta(seconds=at)
    rank = 0 if reopens else authority
    return Claim(revision, content, judged, rank, decided, f"p{content}{at}{authority}", reopens)


def counts(*claims: Claim) -> Claim:
    """What counts in the end, which is the same in every order."""
    orders = list(itertools.permutations(claims)) if len(claims) < 6 else [claims, claims[::-1]]
    ends = set()
    for order in orders:
        known: tuple[Claim, ...] = ()
        for one in order:
            known = precedence.add(known, one)
        ends.add(precedence.standing(known))
    assert len(ends) == 1
    return ends.pop()


def test_no_later_verdict_overrules_a_person() -> None:
    decided = person("A", 2, of=1)
    assert counts(machine("A", 1), decided, machine("A", 9)).name == decided.name


def test_an_approved_text_that_is_swapped_at_an_equal_revision_returns_to_the_machine() -> None:
    swapped = machine("B", 3)
    assert counts(machine("A", 1), person("A", 2, of=1), swapped) == swapped
    early = machine("B", 2)
    assert counts(machine("A", 1), person("A", 9, of=1), early) == early, "though the approval came later"


def test_the_decision_counts_again_when_its_text_comes_back() -> None:
    decided = person("A", 2, of=1)
    assert counts(machine("A", 1), decided, machine("B", 3), machine("A", 4)).name == decided.name


def test_a_higher_revision_returns_to_the_machine_with_the_same_text_too() -> None:
    edited = machine("A", 0, revision=1)
    assert counts(machine("A", 1), person("A", 2, of=1, authority=3), edited) == edited


def test_an_appeal_outranks_an_adjudicator_who_outranks_a_reviewer() -> None:
    appeal, adjudicated = person("A", 2, of=1, authority=3), person("A", 3, of=1, authority=2)
    reviewed = person("A", 9, of=1)
    assert counts(machine("A", 1), reviewed, adjudicated) == adjudicated
    assert counts(machine("A", 1), reviewed, adjudicated, appeal) == appeal


def test_a_case_that_is_reopened_goes_back_to_the_machine_until_a_person_decides_anew() -> None:
    decided = person("A", 2, of=1, authority=3)
    reopened = person("A", 4, of=1, reopens=True)
    assert counts(machine("A", 1), decided, reopened) == reopened
    judged = machine("A", 6)
    assert counts(machine("A", 1), decided, reopened, judged) == judged
    again = person("A", 5, of=1)
    assert counts(machine("A", 1), decided, reopened, judged, again) == again


claims = st.one_of(
    st.builds(machine, st.sampled_from("AB"), st.integers(0, 6), revision=st.integers(0, 1)),
    st.builds(
        person,
        st.sampled_from("AB"),
        st.integers(0, 6),
        of=st.integers(0, 3),
        authority=st.integers(1, 3),
        revision=st.integers(0, 1),
        reopens=st.booleans(),
    ),
)


@given(st.lists(claims, min_size=1, max_size=9), st.randoms())
def test_the_order_in_which_records_come_makes_no_difference(given_: list[Claim], random: object) -> None:
    shuffled = list(given_)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    ends = []
    for order in (given_, shuffled):
        known: tuple[Claim, ...] = ()
        for one in (*order, *order):
            known = precedence.add(known, one)
        ends.append(precedence.standing(known).name)
    assert ends[0] == ends[1]


def test_what_is_remembered_of_a_post_is_bounded_and_the_newest_content_is_kept() -> None:
    known: tuple[Claim, ...] = ()
    for at in range(100):
        known = precedence.add(known, machine(f"content {at}", at))
    assert len(known) == CLAIMS_MOST
    assert precedence.standing(known) == machine("content 99", 99)


def test_a_text_that_is_swapped_often_does_not_lose_what_a_person_said_of_it() -> None:
    known = precedence.add((machine("A", 0),), person("A", 1, of=0))
    for at in range(2, 100):
        known = precedence.add(known, machine(f"content {at}", at))
    assert len(known) == CLAIMS_MOST
    assert precedence.standing(precedence.add(known, machine("A", 100))) == person("A", 1, of=0)


def test_a_text_that_is_swapped_often_does_not_lose_that_a_decision_was_taken_back() -> None:
    known: tuple[Claim, ...] = ()
    for one in (machine("A", 0), person("A", 1, of=0), person("A", 2, of=0, reopens=True)):
        known = precedence.add(known, one)
    for at in range(3, 100):
        known = precedence.add(known, machine(f"content {at}", at))
    assert len(known) == CLAIMS_MOST
    assert precedence.standing(precedence.add(known, machine("A", 100))) == machine("A", 100)
