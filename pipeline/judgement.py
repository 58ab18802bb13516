"""Judgements: what the engine is asked once, for every post that waits for the same answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.engines.protocol import Prompt
    from sluicegate.pipeline.planner import Waiting
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

    key: bytes
    prompt: Prompt
    waiting: Waiting
    """What the planner sees of it. The first member's tenant stands for all."""
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
