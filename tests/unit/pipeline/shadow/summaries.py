"""Summaries of experiments, made for tests."""

from __future__ import annotations

from typing import Any

from sluicegate.pipeline.shadow.certificate import CertificateTerms
from sluicegate.pipeline.shadow.comparison import Pairs
from sluicegate.pipeline.shadow.states import CandidateState, JudgeDigests
from sluicegate.pipeline.shadow.summary import EngineCost, Experiment, summarise
from sluicegate.pipeline.shadow.tally import Tally
from unit.pipeline.shadow.sides import CANDIDATE, CANDIDATES, INCUMBENT, INCUMBENTS, compared


def a_tally() -> Tally:
    """Forty posts: two on which the candidate is milder, one on which it is stricter."""
    tally = Tally()
    for number in range(37):
        tally.add(compared("allow", "allow", f"same {number}"))
    tally.add(compared("block", "allow", "milder"))
    tally.add(compared("review", "allow", "milder, too", language="zh", categories=("Violent",)))
    tally.add(compared("allow", "block", "stricter"))
    return tally


def a_summary(**given: Any) -> dict[str, Any]:
    """The summary of an experiment of two hours."""
    experiment = Experiment(
        name=given.pop("name", "retrained"),
        state=CandidateState.SHADOW,
        share=0.05,
        incumbent=JudgeDigests(engines=(INCUMBENT.engine,), policy=INCUMBENT.policy),
        candidate=JudgeDigests(engines=(CANDIDATE.engine,), policy=CANDIDATE.policy),
        terms=CertificateTerms(0.005, 0.02),
    )
    values: dict[str, Any] = {
        "tally": a_tally(),
        "pairs": Pairs(INCUMBENTS, CANDIDATES),
        "span": (0.0, 7_200.0),
        "cost": (EngineCost(40, 0.4), EngineCost(40, 0.6)),
    }
    return summarise(experiment, **values | given)
