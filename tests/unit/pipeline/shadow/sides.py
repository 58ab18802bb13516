"""Verdicts as a comparison sees them, made for tests."""

from __future__ import annotations

from typing import Any

from sluicegate.pipeline.shadow.comparison import Cohort, Comparison, JudgedContent, Judges, Seat, Side
from sluicegate.schemas import Action

INCUMBENT = Cohort("sha256:" + "1" * 64, None, "sha256:" + "a" * 64)
CANDIDATE = Cohort("sha256:" + "2" * 64, None, "sha256:" + "a" * 64)
INCUMBENTS = Judges(frozenset({INCUMBENT.engine}), INCUMBENT.policy)
CANDIDATES = Judges(frozenset({CANDIDATE.engine}), CANDIDATE.policy)


def seat(verdict: Side) -> Seat:
    """The topic that a verdict of these two comes from."""
    return Seat.INCUMBENT if verdict.cohort.engine == INCUMBENT.engine else Seat.CANDIDATE


def side(cohort: Cohort = INCUMBENT, post: str = "p", action: str = "allow", **fields: Any) -> Side:
    """One verdict; each post has a text of its own, unless ``text`` says otherwise."""
    text = fields.pop("text", post)
    name = fields.pop("verdict_id", f"{cohort.engine[7]} {post}")
    values: dict[str, Any] = {
        "content": JudgedContent(fields.pop("tenant", "acme"), post, 0, f"hash of {text}"),
        "cohort": cohort,
        "action": Action(action),
        "failed": False,
        "kind": "post",
        "language": "de",
        "categories": (),
        "verdict_id": name,
        "root": name,
        "at": 0.0,
    }
    return Side(**values | fields)


def compared(incumbent: str, candidate: str, post: str = "p", **fields: Any) -> Comparison:
    """What both say of one post."""
    return Comparison(side(INCUMBENT, post, incumbent, **fields), side(CANDIDATE, post, candidate, **fields))
