"""Tried: a second judge beside a flow's own, for the posts that it is given. The flow asks once for each post."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class TriedJudge(Protocol):
    """Who judges some of the posts in place of the policy in force, by a policy that never changes.

    In a live worker it is a candidate that acts on a share. In a shadow worker it is the incumbent, for that share.
    """

    @property
    def policy(self) -> Policy:
        """Decides its posts, and names the adapter that judges each."""
        ...

    def judges(self, post: Post) -> bool:
        """Whether a post is its own now. It may be asked for every post, in the event loop."""
        ...


TRY_S, REST_S = 5.0, 60.0
"""An engine that is away for longer than the first gives its posts to the incumbent. It is tried for so long in each minute."""


class EngineRest:
    """When a second judge whose engine is away gets posts all the same: a while in each minute, or nobody would ask the engine."""

    def __init__(self) -> None:
        self._away_at: float | None = None

    def may_act(self, now: float, *, at_work: bool) -> bool:
        """Whether it gets posts now.

        Args:
            now: Monotonic seconds.
            at_work: Whether its engines are at work.
        """
        if at_work:
            self._away_at = None
            return True
        if self._away_at is None:
            self._away_at = now
        return (now - self._away_at) % REST_S < TRY_S


@dataclass(frozen=True, slots=True)
class Beside:
    """What a worker tells a candidate that stands beside its incumbent."""

    incumbent: Callable[[], Policy]
    """The policy in force."""
    engines: Mapping[str | None, str]
    """Digest of each engine by adapter; None is the engine's own."""
    screen: str | None
    """Digest of the screen, if there is one."""
    is_ready: Callable[[], bool]
    """Whether the engines that the candidate needs have answered once, and are at work or to be tried."""
    lost: Callable[[], None]
    """Told in the event loop that posts of the candidate may be its own no more."""
    instruments: Instruments


class Candidate(TriedJudge, AbstractAsyncContextManager["Candidate"], Protocol):
    """A candidate in a worker. It acts on nothing before it is entered and facts were read."""

    @property
    def state(self) -> str:
        """Where it stands and what it acts on, for people."""
        ...

    def hear(self, value: bytes) -> None:
        """Take in a signed record of the control topic, in the event loop."""
        ...
