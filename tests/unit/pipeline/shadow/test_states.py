"""Facts about a candidate: which may follow on which, who may say so, and who acts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow.comparison import Cohort
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.states import (
    EVERYWHERE_S,
    MOST_BYTES,
    MOST_FACTS,
    WATCH_S,
    CandidateFact,
    CandidateHistory,
    CandidateState,
    JudgeDigests,
    Role,
    Rosters,
    state_by_time,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

S = CandidateState
ROSTERS = Rosters(frozenset({"comparator"}), frozenset({"ed", "both"}), frozenset({"ann", "amy", "both"}))
START = datetime(2026, 1, 1, tzinfo=UTC)
GATE, REPORT = f"sha256:{'c' * 64}", f"sha256:{'d' * 64}"
OLD = JudgeDigests(engines=(f"sha256:{'1' * 64}",), policy=f"sha256:{'a' * 64}")
NEW = JudgeDigests(engines=(f"sha256:{'2' * 64}",), policy=f"sha256:{'a' * 64}")

WAY: list[tuple[CandidateState, dict[str, Any]]] = [
    (S.REGISTERED, {"role": "editor", "by": "ed"}),
    (S.GATED, {"role": "machine", "by": "comparator", "report": GATE}),
    (S.SHADOW, {"role": "editor", "by": "ed", "share": 0.05}),
    (S.CERTIFIED, {"role": "machine", "by": "comparator", "report": REPORT}),
    (S.CANARY, {"role": "approver", "by": "ann", "share": 0.01, "report": REPORT}),
    (S.CANARY, {"role": "approver", "by": "amy", "share": 0.25, "report": REPORT}),
    (S.PROMOTED, {"role": "approver", "by": "ann", "report": REPORT}),
    (S.WATCHED, {"role": "machine", "by": "comparator"}),
    (S.SETTLED, {"role": "machine", "by": "comparator", "report": REPORT, "days": 8}),
]
"""The whole way of a good candidate."""
ROLLBACK: dict[str, Any] = {"state": S.ROLLED_BACK, "role": "editor", "by": "ed"}


def following(history: CandidateHistory, **fields: Any) -> CandidateFact:
    """A fact that follows on the newest one."""
    head = history.head
    days = fields.pop("days", 0)
    return CandidateFact(
        **{
            "experiment": "retrained",
            "follows": None if head is None else head.digest,
            "incumbent": OLD,
            "candidate": NEW,
            "at": (START if head is None else head.at) + timedelta(days=days, seconds=1),
            "why": "because",
        }
        | fields
    )


def at(state: CandidateState | None, **fields: Any) -> CandidateHistory:
    """The history of a good candidate up to a state, the first time that it comes."""
    history = CandidateHistory("retrained", ROSTERS, **fields)
    for step, said in WAY:
        if history.state is state:
            return history
        history.add(following(history, state=step, **said))
    if history.state is not state:
        raise AssertionError(state)
    return history


def test_a_good_candidate_goes_all_the_way() -> None:
    history = at(S.SETTLED)
    assert [fact.state for fact in history.facts] == [step for step, _ in WAY]


@pytest.mark.parametrize("end", [S.REJECTED, S.INCONCLUSIVE])
def test_an_experiment_may_end_without_a_certificate_and_then_nothing_acts(end: CandidateState) -> None:
    history = at(S.SHADOW)
    history.add(following(history, state=end, role="machine", by="comparator", report=REPORT))
    canary = following(history, state=S.CANARY, role="approver", by="ann", share=0.1, report=REPORT)
    with pytest.raises(CandidateError, match=f"canary may not follow on {end}"):
        history.add(canary)
    assert not history.acts_on("acme", "p", agreed=True)


def test_an_inconclusive_experiment_may_go_on() -> None:
    history = at(S.SHADOW)
    history.add(following(history, state=S.INCONCLUSIVE, role="editor", by="ed", report=REPORT))
    history.add(following(history, state=S.SHADOW, role="editor", by="ed", share=0.5))
    assert history.state is S.SHADOW


@pytest.mark.parametrize("state", [None, *dict(WAY)])
@pytest.mark.parametrize(("role", "by"), [("editor", "ed"), ("approver", "amy"), ("machine", "comparator")])
def test_anybody_may_roll_back_from_any_state_and_that_is_the_end(
    state: CandidateState | None, role: str, by: str
) -> None:
    history = at(state)
    history.add(following(history, state=S.ROLLED_BACK, role=role, by=by))
    assert history.state is S.ROLLED_BACK
    assert not history.acts_on("acme", "p", agreed=True)
    for step, said in WAY:
        with pytest.raises(CandidateError, match=r"nothing may|two people"):
            history.add(following(history, state=step, **said))
    with pytest.raises(CandidateError, match="already"):
        history.add(following(history, **ROLLBACK))


def test_a_fact_that_comes_twice_is_known_already() -> None:
    history = at(S.CANARY)
    rollback = following(history, **ROLLBACK)
    assert history.add(rollback)
    before = history.facts
    assert [history.add(fact) for fact in before] == [False] * len(before)
    assert history.facts == before


def test_a_rollback_counts_though_others_spoke_meanwhile() -> None:
    history = at(S.CANARY)
    rollback = following(history, **ROLLBACK)
    history.add(following(history, state=S.PROMOTED, role="approver", by="ann", report=REPORT))
    history.add(rollback)
    assert not history.acts_on("acme", "p", agreed=True)


def test_a_rollback_counts_though_it_follows_on_what_this_reader_refused() -> None:
    history = at(S.CANARY)
    unheard = following(
        history, state=S.CANARY, role="approver", by="new colleague", share=0.9, report=REPORT
    )
    with pytest.raises(CandidateError, match="put the name on the list"):
        history.add(unheard)
    history.add(following(history, follows=unheard.digest, **ROLLBACK))
    assert history.state is S.ROLLED_BACK


@pytest.mark.parametrize("step", range(len(WAY)))
@pytest.mark.parametrize(("role", "by"), [("editor", "ed"), ("approver", "amy"), ("machine", "comparator")])
def test_only_those_who_may_take_a_step(step: int, role: str, by: str) -> None:
    history = CandidateHistory("retrained", ROSTERS)
    for state, said in WAY[:step]:
        history.add(following(history, state=state, **said))
    state, said = WAY[step]
    allowed = {
        S.REGISTERED: {"editor"},
        S.GATED: {"editor", "machine"},
        S.SHADOW: {"editor"},
        S.CERTIFIED: {"machine"},
        S.CANARY: {"approver"},
        S.PROMOTED: {"approver"},
        S.WATCHED: {"machine"},
        S.SETTLED: {"machine", "approver"},
    }[state]
    fact = following(history, **{**said, "state": state, "role": role, "by": by})
    if role in allowed:
        assert history.add(fact)
    else:
        with pytest.raises(CandidateError, match=r"only .* ask one"):
            history.add(fact)
        assert len(history.facts) == step


@pytest.mark.parametrize("name", ["both", "BOTH", "ｂｏｔｈ"])
def test_who_brings_a_candidate_does_not_let_it_act(name: str) -> None:
    rosters = Rosters(ROSTERS.machines, ROSTERS.editors, ROSTERS.approvers | {name})
    history = CandidateHistory("retrained", rosters)
    for state, said in WAY[:4]:
        history.add(following(history, **{**said, "state": state, "by": said["by"].replace("ed", "both")}))
    with pytest.raises(CandidateError, match="two people"):
        history.add(following(history, state=S.CANARY, role="approver", by=name, share=0.1, report=REPORT))


def test_who_approved_a_canary_does_not_start_a_shadow_of_it() -> None:
    rosters = Rosters(ROSTERS.machines, ROSTERS.editors | {"amy"}, ROSTERS.approvers)
    history = CandidateHistory("retrained", rosters)
    for state, said in WAY[:2]:
        history.add(following(history, state=state, **said))
    history.add(following(history, state=S.SHADOW, role="editor", by="amy", share=0.1))
    history.add(following(history, state=S.CERTIFIED, role="machine", by="comparator", report=REPORT))
    with pytest.raises(CandidateError, match="amy spoke as editor"):
        history.add(following(history, state=S.CANARY, role="approver", by="amy", share=0.1, report=REPORT))


def test_a_person_is_no_machine() -> None:
    with pytest.raises(CandidateError, match="a name of its own"):
        Rosters(frozenset({"Ann"}), frozenset(), frozenset({"ann"}))


@pytest.mark.parametrize(
    ("state", "fields", "fix"),
    [
        (S.SHADOW, {"follows": GATE}, "read that one"),
        (S.SHADOW, {"follows": None}, "read that one"),
        (S.SHADOW, {"experiment": "another"}, "give it there"),
        (S.SHADOW, {"candidate": OLD.model_copy(update={"engines": (GATE,)})}, "register another experiment"),
        (S.SHADOW, {"incumbent": OLD.model_copy(update={"policy": GATE})}, "register another experiment"),
        (S.SHADOW, {"by": "nobody"}, "put the name on the list"),
        (S.CANARY, {"report": GATE}, "name the certificate's report"),
        (S.SETTLED, {"days": 6}, "wait, or roll back"),
        (S.SETTLED, {"days": -8}, "wait, or roll back"),
    ],
)
def test_a_fact_that_does_not_fit_is_refused_and_changes_nothing(
    state: CandidateState, fields: dict[str, Any], fix: str
) -> None:
    history = CandidateHistory("retrained", ROSTERS)
    for step, said in WAY:
        if step is state:
            with pytest.raises(CandidateError, match=fix):
                history.add(following(history, **{"state": state, **said, **fields}))
            assert history.add(following(history, state=state, **said))
            return
        history.add(following(history, state=step, **said))


@pytest.mark.parametrize(
    "fields",
    [
        {"state": S.SHADOW},
        {"state": S.SHADOW, "share": 0.0},
        {"state": S.SHADOW, "share": float("nan")},
        {"state": S.REGISTERED, "share": 0.5},
        {"state": S.GATED},
        {"state": S.PROMOTED},
        {"candidate": OLD},
        {"by": "a\nb"},
        {"by": ""},
        {"report": "sha256:1"},
        {"at": "soon"},
        {"surprise": 1},
    ],
)
def test_a_fact_that_says_too_little_or_too_much_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        following(at(None), **{"state": S.REGISTERED, "role": "editor", "by": "ed"} | fields)


def test_a_record_is_read_as_it_was_written() -> None:
    for fact in at(S.SETTLED).facts:
        again = CandidateFact.decode(fact.encode())
        assert (again, again.digest) == (fact, fact.digest)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "up to date"),
        (b"[]", "up to date"),
        (b"\xff", "up to date"),
        (b"{" * MOST_BYTES, "up to date"),
        (b" " * (MOST_BYTES + 1), "shorten"),
    ],
)
def test_what_is_no_fact_is_refused(value: bytes, says: str) -> None:
    with pytest.raises(CandidateError, match=says):
        CandidateFact.decode(value)


def test_a_history_has_no_more_facts_than_there_is_room_for_and_can_still_be_rolled_back() -> None:
    history = at(S.SHADOW)
    while len(history.facts) < MOST_FACTS:
        history.add(following(history, state=S.SHADOW, role="editor", by="ed", share=0.5))
    with pytest.raises(CandidateError, match="begin another"):
        history.add(following(history, state=S.SHADOW, role="editor", by="ed", share=0.5))
    assert history.add(following(history, **ROLLBACK))


def test_the_longest_fact_can_be_read() -> None:
    line = "\N{GRINNING FACE}" * 200
    fact = following(
        at(S.SHADOW),
        experiment="e" * 64,
        state=S.CANARY,
        role="approver",
        by=line,
        why=line,
        share=0.1234567890123456,
        report=REPORT,
        incumbent=OLD.model_copy(update={"engines": OLD.engines * 16}),
        candidate=NEW.model_copy(update={"engines": NEW.engines * 16}),
    )
    assert CandidateFact.decode(fact.encode()) == fact


def test_a_fact_names_whose_verdicts_are_compared() -> None:
    assert NEW.judges.include(Cohort(NEW.engines[0], "teens", NEW.policy))
    assert not NEW.judges.include(Cohort(OLD.engines[0], None, NEW.policy))
    assert not NEW.judges.include(Cohort(NEW.engines[0], None, GATE))


POSTS = [f"post {number}" for number in range(400)]


def acted(history: CandidateHistory, *, agreed: bool) -> set[str]:
    return {post for post in POSTS if history.acts_on("acme", post, agreed=agreed)}


@pytest.mark.parametrize("state", [None, *dict(WAY)])
def test_a_candidate_acts_on_its_share_in_a_canary_and_on_all_once_promoted(
    state: CandidateState | None,
) -> None:
    history = at(state)
    if state is S.CANARY:
        history.add(following(history, state=S.CANARY, role="approver", by="amy", share=0.25, report=REPORT))
        sample = ShadowSample("retrained", 0.25)
        assert acted(history, agreed=True) == {post for post in POSTS if sample.holds("acme", post)} != set()
        assert acted(history, agreed=False) == set()
    else:
        on_all = state in (S.PROMOTED, S.WATCHED, S.SETTLED)
        assert acted(history, agreed=True) == acted(history, agreed=False) == ({*POSTS} if on_all else set())


def replayed(facts: Iterable[CandidateFact]) -> CandidateHistory:
    history = CandidateHistory("retrained", ROSTERS)
    for fact in facts:
        try:
            history.add(fact)
        except CandidateError:
            continue
    return history


@given(st.lists(st.integers(0, len(WAY) - 1), max_size=40))
def test_facts_that_come_again_or_not_at_all_never_make_a_candidate_act_sooner(order: list[int]) -> None:
    facts = at(S.SETTLED).facts
    history = replayed(facts[number] for number in order)
    assert history.facts == facts[: len(history.facts)]
    if history.acts_on("acme", "p", agreed=True):
        assert S.CERTIFIED in [fact.state for fact in history.facts]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*S]),
            st.sampled_from([*Role]),
            st.sampled_from(["ed", "ann", "amy", "both", "comparator", "nobody"]),
            st.sampled_from([GATE, REPORT]),
            st.sampled_from([0, 8]),
        ),
        max_size=30,
    ),
    st.sampled_from([None, *dict(WAY)]),
)
def test_whatever_is_said_two_people_and_a_certificate_stand_before_a_candidate_that_acts(
    said: list[tuple[CandidateState, Role, str, str, int]], begun: CandidateState | None
) -> None:
    history = at(begun)
    for state, role, by, report, days in said:
        share = 0.5 if state in (S.SHADOW, S.CANARY) else None
        fact = following(history, state=state, role=role, by=by, report=report, share=share, days=days)
        try:
            history.add(fact)
        except CandidateError:
            continue
        facts = history.facts
        if acted(history, agreed=True):
            certified = [one for one in facts if one.state is S.CERTIFIED]
            editors = {one.by for one in facts if one.role is Role.EDITOR}
            approvers = {one.by for one in facts if one.role is Role.APPROVER}
            assert certified
            assert all(one.by == "comparator" for one in certified)
            assert editors
            assert approvers
            assert not editors & approvers
        states = [one.state for one in facts]
        assert S.ROLLED_BACK not in states[:-1]
    assert replayed(history.facts).facts == history.facts


@pytest.mark.parametrize(
    ("state", "known", "reached"),
    [
        (S.PROMOTED, {"alone_since": 0.0, "now": EVERYWHERE_S}, S.WATCHED),
        (S.PROMOTED, {"alone_since": 0.0, "now": EVERYWHERE_S - 1}, None),
        (S.PROMOTED, {"alone_since": None, "now": WATCH_S}, None),  # a worker still lets the incumbent act
        (S.WATCHED, {"now": WATCH_S}, S.SETTLED),
        (S.WATCHED, {"now": WATCH_S - 1}, None),
        (S.WATCHED, {"now": WATCH_S, "compared": 0}, None),  # nothing was compared, so nothing was shown
        (S.CANARY, {"now": WATCH_S}, None),
        (S.SETTLED, {"now": 2 * WATCH_S}, None),
    ],
)
def test_time_alone_moves_a_candidate_that_acts_on_all(
    state: CandidateState, known: dict[str, Any], reached: CandidateState | None
) -> None:
    told: dict[str, Any] = {"since": 0.0, "alone_since": 0.0, "compared": 1, **known}
    assert state_by_time(state, **told) is reached
