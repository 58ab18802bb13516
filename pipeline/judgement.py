"""Judgements: what the engine is asked once, for every post that waits for the same answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluicegate.pipeline.planner import Waiting

if TYPE_CHECKING:
    from sluicegate.engines.protocol import Prompt
    from sluicegate.pipeline.window import Held
    from sluicegate.schemas import Post, Scores


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A decoded post and its place in the window."""

    held: Held
    post: Post


@dataclass(slots=True, eq=False)
class Judgement:
    """One distinct prompt in work, and the posts that share its answer (single flight)."""

    number: int
    key: bytes
    prompt: Prompt
    since: float
    members: list[Arrival] = field(default_factory=list)
    scores: Scores | None = None
    """Known beforehand where only the explanation is missing."""
    scored_in: str | None = None
    """The verdict that first carried those scores."""
    sent_at: float | None = None
    """Monotonic seconds of the hand-over to the engine."""

    @property
    def live(self) -> bool:
        """False once every member was given back: nobody waits for the answer any more."""
        return any(not member.held.released for member in self.members)

    def as_waiting(self, adapter: str | None) -> Waiting:
        """What the planner needs to know. The first member's tenant stands for all."""
        return Waiting(
            key=self.number,
            tokens=len(self.prompt.token_ids),
            tenant=self.members[0].post.tenant,
            adapter=adapter,
            since=self.since,
        )
