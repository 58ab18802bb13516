"""Reviews: which of two judges was right about a post that a person judged blindly. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sluicegate.pipeline.shadow.comparison import JudgedContent, severity_rank
from sluicegate.pipeline.shadow.records import ComparedPost
from sluicegate.pipeline.shadow.summary import ReviewCounts
from sluicegate.schemas import Action, Basis, Resolution

MOST_ASKED = 20_000
"""Posts that wait for a person or were judged by one. People do not judge so many in an experiment."""


class RightJudge(StrEnum):
    """Who was right. The names are those of :class:`~sluicegate.pipeline.shadow.summary.ReviewCounts`."""

    CANDIDATE = "candidate_right"
    INCUMBENT = "incumbent_right"
    BOTH = "both_right"
    NEITHER = "neither_right"


def right_of(incumbent: Action, candidate: Action, person: Action) -> RightJudge:
    """Who was right about a post.

    Where the two differ, the one is right whose action is nearer to the person's. A review is nearer to a block than an
    allow: it did not let the post pass, and it asked. Otherwise a candidate that allows what the incumbent sends to people
    would never be wrong.

    Args:
        incumbent: What it did.
        candidate: What it would have done.
        person: What the person found right, without seeing either.
    """
    one, other = (abs(severity_rank(action) - severity_rank(person)) for action in (incumbent, candidate))
    if one == other:
        return RightJudge.NEITHER if one else RightJudge.BOTH
    return RightJudge.INCUMBENT if one < other else RightJudge.CANDIDATE


class _Finding(NamedTuple):
    right: RightJudge | None
    """None where it was withdrawn."""
    authority: int
    at: datetime


@dataclass(slots=True)
class _Asked:
    incumbent: Action
    candidate: Action
    finding: _Finding | None = None


@dataclass(slots=True)
class Reviews:
    """Counts who was right, from the posts that people were asked about and from what they decided.

    Both may come in any order of posts and more than once. Of a post the highest authority counts, and of one authority
    the newest decision.
    """

    most: int = MOST_ASKED
    unasked: int = field(default=0, init=False)
    """Posts that were given up before a person judged them, for want of room."""
    _asked: OrderedDict[JudgedContent, _Asked] = field(default_factory=OrderedDict, init=False)
    _counted: Counter[RightJudge] = field(default_factory=Counter, init=False)

    def ask(self, post: ComparedPost) -> None:
        """Note that people are asked about a post."""
        if post.content in self._asked:
            return
        self._asked[post.content] = _Asked(post.incumbent, post.candidate)
        if len(self._asked) > self.most:
            _, gone = self._asked.popitem(last=False)
            self.unasked += gone.finding is None

    def take(self, resolution: Resolution) -> RightJudge | None:
        """Take a decision in; who was right by it, None where it does not count.

        What a person decided who saw the verdict does not count, nor what was decided for many posts at once.
        """
        content = JudgedContent(
            resolution.tenant, resolution.post_id, resolution.revision, resolution.content_hash
        )
        asked = self._asked.get(content)
        is_blind = "verdict" not in resolution.seen and resolution.basis != Basis.BULK
        if asked is None or not (is_blind or resolution.reopens):
            return None
        before, rank = asked.finding, resolution.authority.rank
        if before is not None:
            if (
                resolution.reopens or before.right is None
            ):  # what was withdrawn stays so, whatever comes again
                is_newer = resolution.decided_at > before.at
            else:
                is_newer = (rank, resolution.decided_at) > (before.authority, before.at)
            if not is_newer:
                return None
            if before.right is not None:
                self._counted[before.right] -= 1
        right = None if resolution.reopens else right_of(asked.incumbent, asked.candidate, resolution.action)
        asked.finding = _Finding(right, rank, resolution.decided_at)
        if right is not None:
            self._counted[right] += 1
        return right

    @property
    def waiting(self) -> int:
        """Posts that nobody has judged yet."""
        return sum(one.finding is None or one.finding.right is None for one in self._asked.values())

    @property
    def counts(self) -> ReviewCounts:
        """How often who was right."""
        return ReviewCounts(**{right.value: self._counted[right] for right in RightJudge})

    def document(self) -> dict[str, Any]:
        """All of it as JSON values, for :meth:`restore`."""
        return {
            "unasked": self.unasked,
            "counted": {right.value: self._counted[right] for right in RightJudge},
            "asked": [
                [
                    *content,
                    asked.incumbent.value,
                    asked.candidate.value,
                    None
                    if asked.finding is None
                    else [asked.finding.right, asked.finding.authority, asked.finding.at.isoformat()],
                ]
                for content, asked in self._asked.items()
            ],
        }

    @classmethod
    def restore(cls, document: dict[str, Any]) -> Reviews:
        """What :meth:`document` wrote."""
        made = cls()
        made.unasked = document["unasked"]
        made._counted = Counter({RightJudge(name): number for name, number in document["counted"].items()})
        for tenant, post_id, revision, content, incumbent, candidate, finding in document["asked"]:
            asked = _Asked(Action(incumbent), Action(candidate))
            if finding is not None:
                right, authority, at = finding
                asked.finding = _Finding(
                    None if right is None else RightJudge(right), authority, datetime.fromisoformat(at)
                )
            made._asked[JudgedContent(tenant, post_id, revision, content)] = asked
        return made
