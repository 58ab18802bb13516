"""Qualify: which decision a case's label comes from, and what is held."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.engines.adapt.cycle.ledger import SealedDecision
from sluicegate.engines.adapt.cycle.qualify import Qualified, qualify, repeats

BEGAN = datetime(2026, 11, 2, 8, tzinfo=UTC)


def decision(case: str, severity: str, reviewer: str | None = "anna", **fields: object) -> SealedDecision:
    number = fields.pop("at", 0)
    document = {
        "id": f"{case}/{reviewer}/{severity}/{number}",
        "case": case,
        "author": "author",
        "tenant": "forum",
        "language": "en",
        "verdict_id": f"verdict-{case}",
        "severity": severity,
        "blind": True,
        "reviewed_at": BEGAN + timedelta(minutes=int(str(number))),
        "reviewer": reviewer,
        "basis": "single",
        "sampled_by": "review",
        "probability": 1.0,
        "found": "safe",
        "sealed": "sealed",
    }
    return SealedDecision.model_validate({**document, **fields})


def settled(*decisions: SealedDecision, golden: dict[str, str] | None = None) -> Qualified:
    return qualify(
        decisions,
        golden=golden or {},  # type: ignore[arg-type]
        row_id=lambda one, severity: f"{one.case}:{severity}",
        splits={"seen in dev": "dev"},
    )


def test_people_who_disagree_are_held_until_somebody_settles_it() -> None:
    votes = (decision("one", "safe", "anna"), decision("one", "unsafe", "bert", at=1))
    found = settled(*votes)
    assert found.rows == ()
    assert [one.why for one in found.held] == ["people disagree; let a third one decide"]
    word = decision("one", "unsafe", "carl", basis="adjudicated", at=2)
    (row,) = settled(*votes, word).rows
    assert (row.severity, row.basis, row.votes) == ("unsafe", "adjudicated", (1, 0, 2))
    assert len(row.decisions) == 3


def test_an_appeal_has_the_last_word() -> None:
    (row,) = settled(
        decision("one", "unsafe", basis="adjudicated"), decision("one", "safe", "dora", basis="appeal", at=1)
    ).rows
    assert row.severity == "safe"


def test_somebody_who_changed_their_mind_disagrees_with_nobody() -> None:
    (row,) = settled(decision("one", "safe"), decision("one", "unsafe", at=1)).rows
    assert (row.severity, row.votes) == ("unsafe", (0, 0, 1))


def test_a_vote_counts_for_agreement_and_is_no_label_until_somebody_settles_the_case() -> None:
    vote = decision("one", "unsafe", "anna", basis="vote", sampled_by="audit")
    found = settled(vote)
    assert (found.rows, len(found.held), found.rates["all"].wrong.decisions) == ((), 1, 0)
    second = decision("one", "unsafe", "bert", basis="double", sampled_by="audit", at=1)
    found = settled(vote, second)
    (row,) = found.rows
    assert (row.basis, row.votes, len(row.decisions)) == ("double", (0, 0, 2), 2)
    assert found.rates["all"].wrong.decisions == 1


def test_golden_cases_and_copies_teach_nothing() -> None:
    found = settled(
        decision("golden", "safe", basis="golden"),
        decision("golden", "unsafe", "bert"),
        decision("copy", "unsafe", basis="bulk"),
        golden={"golden": "safe"},
    )
    assert (found.rows, found.held) == ((), ())
    assert found.golden == {"anna": (1, 1), "bert": (0, 1)}


def test_a_text_that_is_erased_is_no_row() -> None:
    assert settled(decision("one", "unsafe", sealed=None)).rows == ()


def test_a_case_stays_in_its_split() -> None:
    (row,) = settled(decision("seen in dev", "unsafe")).rows
    assert row.split == "dev"


@pytest.mark.parametrize(
    ("probability", "most", "times"),
    [(None, 5, 1), (1.0, 5, 1), (0.5, 5, 2), (0.001, 5, 5), (0.001, 1, 1), (0.4, 5, 2), (0.0, 5, 1)],
)
def test_a_row_is_shown_for_the_posts_that_it_stands_for_and_no_oftener_than_may_be(
    probability: float | None, most: int, times: int
) -> None:
    assert repeats(probability, most) == times


def test_streams_that_seek_hard_posts_teach_and_leave_the_rates_as_they_are() -> None:
    """One post in ten is close, and the engine is wrong on half of these and on nothing else."""
    draw = random.Random(9)
    uniform, sought = [], []
    for number in range(8_000):
        close = number % 10 == 0
        true = "unsafe" if close and number % 20 == 0 else "safe"  # the verdict always said safe
        if draw.random() < 0.2:
            uniform.append(decision(f"case-{number}", true, sampled_by="audit", probability=0.2, at=number))
        elif close and draw.random() < 0.5:
            sought.append(decision(f"case-{number}", true, sampled_by="margin", probability=0.4, at=number))
    assert len(sought) > 200
    alone, both = settled(*uniform), settled(*uniform, *sought)
    assert both.rates == alone.rates
    wrong = both.rates["all"].wrong
    assert wrong.low < 0.05 < wrong.high
    assert wrong.high < 0.08, "all rows together would say 0.14"
    assert len(both.rows) == len(uniform) + len(sought)
    assert {row.probability for row in both.rows if row.sampled_by == "margin"} == {0.4}


def test_single_votes_of_somebody_who_drifted_are_held_and_the_rates_are_of_the_audit_alone() -> None:
    draw = random.Random(4)
    team = ("anna", "bert", "carl", "dora", "emil", "fay")
    decisions = []
    for number in range(900):
        true = draw.choice(("safe", "unsafe"))
        for reviewer in draw.sample(team, 2 if number % 2 else 1):
            wrong = draw.random() < (0.4 if reviewer == "fay" else 0.04)
            said = ("unsafe" if true == "safe" else "safe") if wrong else true
            stream = "audit" if number % 3 == 0 else "review"
            decisions.append(
                decision(f"case-{number}", said, reviewer, sampled_by=stream, probability=0.01, at=number)
            )
    found = settled(*decisions)
    assert found.drifted == ("fay",)
    alone = [one for one in found.held if "no longer agree" in one.why]
    assert len(alone) > 20
    assert found.rates["all"].wrong.decisions == 300
    assert found.rates["all"].wrong.low < 0.5 < found.rates["all"].wrong.high  # the verdict always said safe
    assert found.pull is None  # all were blind


def test_rates_are_of_the_live_engine_s_own_verdicts() -> None:
    live, before = (f"sha256:{letter * 64}" for letter in "ab")
    decisions = [
        decision(
            f"{engine[7]}-{number}",
            "unsafe" if engine == before else "safe",
            sampled_by="audit",
            engine=engine,
        )
        for engine in (live, before)
        for number in range(40)
    ]
    found = {
        engine: qualify(decisions, golden={}, row_id=lambda one, _: one.case, splits={}, engine=engine)
        .rates["all"]
        .wrong
        for engine in (live, before, None)
    }
    assert {engine: (one.share, one.decisions) for engine, one in found.items()} == {
        live: (0.0, 40),
        before: (1.0, 40),
        None: (0.5, 80),
    }
