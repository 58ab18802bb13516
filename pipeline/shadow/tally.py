"""Tally: comparisons counted by outcome and by stratum, and which of them are evidence. Pure.

Equal posts are no independent evidence: a flood of one text would end an experiment by itself. So of a cluster one post
an hour counts, the first. All posts are counted beside it, and the share that was compared stands before any rate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from sluicegate.pipeline.shadow import evidence
from sluicegate.pipeline.shadow.comparison import Comparison, Outcome, Side
from sluicegate.schemas import Action

OTHERS = "(all others)"
"""Strata that there was no room for, together."""
NONE = "(none)"
"""Posts without a language or a category."""
_HOUR_S = 3_600
_HOURS = 3
"""So many hours are open at a time. A comparison of an older one is counted, and is no evidence."""


class Dimension(StrEnum):
    """What posts are told apart by."""

    LANGUAGE = "language"
    CATEGORY = "category"
    KIND = "kind"
    TENANT = "tenant"


@dataclass(slots=True)
class Counted:
    """Counts of all posts, or of one stratum."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    """Of all posts."""
    actions: Counter[str] = field(default_factory=Counter)
    """Of the posts that both judged and that differ, by ``incumbent -> candidate``."""
    posts: int = 0
    """Evidence: one post a cluster and hour that the incumbent judged and the candidate answered. Those below are among them."""
    milder: int = 0
    more_blocked: int = 0
    fewer_blocked: int = 0
    more_reviewed: int = 0
    fewer_reviewed: int = 0

    @property
    def contents(self) -> int:
        """All contents that were expected to be compared."""
        return self.outcomes.total()

    @property
    def coverage(self) -> float:
        """Share of the contents that both judged, from 0 to 1; 0 where nothing was expected."""
        compared = sum(number for outcome, number in self.outcomes.items() if outcome.is_compared)
        return compared / self.contents if self.contents else 0.0

    def document(self, alpha: float) -> dict[str, Any]:
        """All of it as JSON values: the coverage first, then counts, then rates with their bounds."""
        return {
            "coverage": self.coverage,
            "contents": self.contents,
            "outcomes": {outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "actions": dict(sorted(self.actions.items())),
            "evidence_posts": self.posts,
            "milder": self.milder,
            "milder_share": evidence.share_bounds(self.milder, self.posts, alpha),
            "blocked_change": self.change(Action.BLOCK, alpha),
            "reviewed_change": self.change(Action.REVIEW, alpha),
        }

    def state(self) -> dict[str, Any]:
        """All counts as JSON values for :meth:`restore`."""
        return {
            "outcomes": {outcome.value: number for outcome, number in self.outcomes.items()},
            "actions": dict(self.actions),
            "evidence": [getattr(self, name) for name in _EVIDENCE],
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Counted:
        """What :meth:`state` gave."""
        outcomes = Counter({Outcome(name): number for name, number in state["outcomes"].items()})
        return cls(
            outcomes, Counter(state["actions"]), **dict(zip(_EVIDENCE, state["evidence"], strict=True))
        )

    def change(self, action: Action, alpha: float) -> tuple[float, float]:
        """Bounds of how much more often the candidate takes an action, as a difference of shares."""
        up, down = (
            (self.more_blocked, self.fewer_blocked)
            if action is Action.BLOCK
            else (self.more_reviewed, self.fewer_reviewed)
        )
        return evidence.difference_bounds(up, self.posts - up - down, down, alpha)

    def count(self, comparison: Comparison) -> None:
        """Count a post."""
        self.outcomes[comparison.outcome] += 1
        if comparison.outcome in (Outcome.STRICTER, Outcome.PERMISSIVE):
            incumbent, candidate = _both(comparison)
            self.actions[f"{incumbent.action} -> {candidate.action}"] += 1

    def count_evidence(self, comparison: Comparison) -> None:
        """Count a post that is evidence."""
        before, after = (one.action for one in _both(comparison))
        self.posts += 1
        self.milder += comparison.milder
        self.more_blocked += before is not Action.BLOCK and after is Action.BLOCK
        self.fewer_blocked += before is Action.BLOCK and after is not Action.BLOCK
        self.more_reviewed += before is not Action.REVIEW and after is Action.REVIEW
        self.fewer_reviewed += before is Action.REVIEW and after is not Action.REVIEW


_EVIDENCE = ("posts", "milder", "more_blocked", "fewer_blocked", "more_reviewed", "fewer_reviewed")


@dataclass(slots=True)
class Tally:
    """Counts of one candidate against one incumbent. Feed it comparisons with :meth:`add`.

    Args:
        most_strata: Strata of one dimension that are counted apart, at most. The others are counted together.
        most_marks: Marks of clusters that are kept of one hour, at most: one to three a post. In an hour with more,
            the posts that follow are counted, and are no evidence.
    """

    most_strata: int = 200
    most_marks: int = 100_000
    all: Counted = field(default_factory=Counted, init=False)
    strata: dict[Dimension, dict[str, Counted]] = field(
        default_factory=lambda: {dimension: {} for dimension in Dimension}, init=False
    )
    copies: int = field(default=0, init=False)
    """Posts that are no evidence, because one of their cluster and hour was."""
    left_out: int = field(default=0, init=False)
    """Posts that are no evidence, because their hour is over, or has no room."""
    same: int = field(default=0, init=False)
    """Posts that are no evidence, because the same engine judged both times, under the same policy."""
    _hours: dict[int, set[int]] = field(default_factory=dict, init=False)
    _newest: int = field(default=0, init=False)

    def add(self, comparison: Comparison) -> bool:
        """Count a comparison; whether it is evidence."""
        counted = [self.all, *self._strata_of(comparison)]
        for one in counted:
            one.count(comparison)
        if not self._is_evidence(comparison):
            return False
        for one in counted:
            one.count_evidence(comparison)
        return True

    def document(self, alpha: float) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            **self.all.document(alpha),
            "copies": self.copies,
            "left_out": self.left_out,
            "same": self.same,
            "strata": {
                dimension.value: {name: one.document(alpha) for name, one in sorted(found.items())}
                for dimension, found in self.strata.items()
            },
        }

    def state(self) -> dict[str, Any]:
        """All that is known, as JSON values for :meth:`restore`."""
        return {
            "all": self.all.state(),
            "strata": {
                dimension.value: {name: one.state() for name, one in found.items()}
                for dimension, found in self.strata.items()
            },
            "counts": [self.copies, self.left_out, self.same],
            "hours": [[hour, sorted(marks)] for hour, marks in self._hours.items()],
            "newest": self._newest,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.all = Counted.restore(state["all"])
        for dimension, found in state["strata"].items():
            self.strata[Dimension(dimension)] = {name: Counted.restore(one) for name, one in found.items()}
        self.copies, self.left_out, self.same = state["counts"]
        self._hours = {hour: set(marks) for hour, marks in state["hours"]}
        self._newest = state["newest"]

    def _strata_of(self, comparison: Comparison) -> list[Counted]:
        known, other = comparison.known, comparison.candidate or comparison.known
        names: dict[Dimension, set[str]] = {
            # Regions and scripts make strata that are too small to tell anything.
            Dimension.LANGUAGE: {(known.language or NONE).partition("-")[0].lower()},
            Dimension.CATEGORY: {*known.categories, *other.categories} or {NONE},
            Dimension.KIND: {known.kind},
            Dimension.TENANT: {known.content.tenant},
        }
        # By identity: categories without room are one stratum, and a post counts once in it.
        found: dict[int, Counted] = {}
        for dimension, wanted in names.items():
            strata = self.strata[dimension]
            for name in wanted:
                has_room = name in strata or len(strata) < self.most_strata
                one = strata.setdefault(name if has_room else OTHERS, Counted())
                found[id(one)] = one
        return [*found.values()]

    def _is_evidence(self, comparison: Comparison) -> bool:
        incumbent, candidate = comparison.incumbent, comparison.candidate
        if incumbent is None or candidate is None or incumbent.failed:
            return False
        if incumbent.cohort == candidate.cohort:
            # One judge, twice: to agree with oneself is no evidence, and would thin out what the candidate changes.
            self.same += 1
            return False
        hour = int(incumbent.at // _HOUR_S)
        if hour > self._newest:
            self._newest = hour
            self._hours = {one: marks for one, marks in self._hours.items() if one > hour - _HOURS}
        seen = self._hours.setdefault(hour, set()) if hour > self._newest - _HOURS else None
        marks = {_mark(incumbent.root), _mark(candidate.root), _mark(incumbent.content.content_hash)}
        if seen is None or len(seen) + len(marks) > self.most_marks:
            self.left_out += 1
            return False
        is_first = seen.isdisjoint(marks)
        # Of a copy, too: what is near to it is of the cluster.
        seen |= marks
        self.copies += not is_first
        return is_first


def _both(comparison: Comparison) -> tuple[Side, Side]:
    if comparison.incumbent is None or comparison.candidate is None:
        raise ValueError("one side is missing; count it as missing")
    return comparison.incumbent, comparison.candidate


def _mark(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
