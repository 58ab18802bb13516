"""Posts that come, from a seed, and a simulated worker: the real planner, a window, a rule, and an engine that it may share."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from in_flight.rules import Answered, Rule, Seen
from sluicegate.pipeline.flow.planner import BatchLimits, Line, WaitingPrompt, plan
from sluicegate.pipeline.observe.instruments import BusyMeter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from in_flight.engines import Engine, Events


EXPLAINED = 0.15
"""Share of posts that are not a confident allow: the fake engine's."""
QUIET = 0.05
"""Share of posts that come from another tenant than all the others."""
SPREAD = 0.8
"""Of the lengths: sigma of a log-normal distribution."""
BURSTS_IN, BURST_SHARE, BURST_LASTS = 16, 0.5, 0.05
"""In every span of so many micro-batches' posts, half of the loud tenant's come within its first twentieth."""


@dataclass(frozen=True)
class Post:
    """One post to come."""

    at: float
    tokens: int
    tenant: str
    explained: bool


def arrivals(per_s: float, count: int, mean_tokens: float, seed: int, *, burst_posts: int = 0) -> list[Post]:
    """So many posts, evenly, or in one burst for each ``burst_posts`` of them."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    at, found = 0.0, []
    for _ in range(count):
        at += rng.expovariate(per_s)
        tokens = max(8, round(rng.lognormvariate(-(SPREAD**2) / 2, SPREAD) * mean_tokens))
        quiet, explained = rng.random() < QUIET, rng.random() < EXPLAINED
        when = at
        if burst_posts and not quiet and rng.random() < BURST_SHARE:
            span = burst_posts / per_s
            when = at - (at % span) * (1 - BURST_LASTS)
        found.append(Post(when, tokens, "quiet" if quiet else "loud", explained))
    return sorted(found, key=lambda post: post.at)


@dataclass
class Finished:
    """Posts that are done."""

    post: Post
    at: float

    @property
    def seconds(self) -> float:
        return self.at - self.post.at


@dataclass(frozen=True)
class Habits:
    """What may differ between workers beside the rule."""

    posts: int
    tokens: int = 16_384
    window: int = 2048
    at_once: bool = True
    """A post that needs no explanation does not wait for those of its neighbours."""
    by_length: bool = False
    """Posts of similar length go together: the shortest of those that wait first, the oldest of all among them."""


@dataclass(eq=False)
class Worker:
    """Takes posts, plans and asks."""

    events: Events
    engine: Engine
    rule: Rule
    habits: Habits
    saturating: int
    seen: Seen = field(default_factory=Seen)
    finished: list[Finished] = field(default_factory=list)
    depths: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.busy = BusyMeter(self.saturating, lambda: self.events.now)
        self._topic: deque[Post] = deque()
        self._posts: dict[int, Post] = {}
        self._waiting: dict[int, WaitingPrompt] = {}
        self._held = self._numbers = 0
        self._appointment = float("inf")

    def arrive(self, post: Post) -> None:
        """A post stands on the topic."""
        self._topic.append(post)
        self._take()
        self._plan()

    def _take(self) -> None:
        while self._topic and self._held < self.habits.window:
            post = self._topic.popleft()
            self._held += 1
            self._numbers += 1
            self._posts[self._numbers] = post
            self._waiting[self._numbers] = WaitingPrompt(
                self._numbers, post.tokens, post.tenant, None, self.events.now
            )

    def _plan(self) -> None:
        free = self.rule.free(self.seen)
        if free <= 0 or not self._waiting:
            return
        waiting: Sequence[WaitingPrompt] = list(self._waiting.values())
        if self.habits.by_length:
            waiting = _alike(waiting, self.habits.posts)
        idle = self.rule.idle(self.seen)
        limits = BatchLimits(self.habits.posts, self.habits.tokens, self.rule.age_s)
        decided = plan(Line(waiting), now=self.events.now, free=free, idle=idle, limits=limits)
        for keys in decided.micro_batches:
            self._send([self._waiting.pop(key) for key in keys])
        again = decided.ask_again_at
        if again is not None and not self.events.now < self._appointment <= again:
            self._appointment = again
            self.events.at(again, self._plan)

    def _send(self, batch: list[WaitingPrompt]) -> None:
        sent, alone = self.events.now, not (self.seen.scoring or self.seen.explaining)
        self.seen.scoring += 1
        self._shift(len(batch))
        self.engine.score([one.tokens for one in batch], lambda: self._scored(batch, sent, alone=alone))

    def _scored(self, batch: list[WaitingPrompt], sent: float, *, alone: bool) -> None:
        now = self.events.now
        self.seen.scoring -= 1
        self._shift(-len(batch))
        self.rule.answered(Answered(now, len(batch), now - sent, alone))
        self.depths.append((now, self.rule.depth()))
        explained = [one for one in batch if self._posts[one.number].explained]
        if not explained or self.habits.at_once:
            self._finish([one for one in batch if one not in explained])
        if explained:
            self.seen.explaining += 1
            self._shift(len(explained))
            rest = explained if self.habits.at_once else batch
            sent = now
            self.engine.explain(len(explained), lambda: self._explained(len(explained), rest, sent))
        self._plan()

    def _explained(self, prompts: int, batch: list[WaitingPrompt], sent: float) -> None:
        now = self.events.now
        self.rule.answered(Answered(now, prompts, now - sent, alone=False, scored=False))
        self.seen.explaining -= 1
        self._shift(-prompts)
        self._finish(batch)
        self._plan()

    def _finish(self, batch: Sequence[WaitingPrompt]) -> None:
        for one in batch:
            self.finished.append(Finished(self._posts.pop(one.number), self.events.now))
        self._held -= len(batch)
        self._take()

    def _shift(self, prompts: int) -> None:
        self.seen.prompts += prompts
        self.busy._shift(prompts)  # noqa: SLF001 - its context manager has no place in events


def _alike(waiting: Sequence[WaitingPrompt], posts: int) -> Sequence[WaitingPrompt]:
    """The oldest, and those nearest to it in length: as many as a micro-batch may have."""
    oldest = waiting[0]
    near = sorted(waiting, key=lambda one: abs(one.tokens - oldest.tokens))[:posts]
    return sorted(near, key=lambda one: one.number)
