"""One simulated run: an engine, a load, a rule, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from in_flight.engines import Events, Speed, engine
from in_flight.rules import Fixed, Rule
from in_flight.worker import BURSTS_IN, EXPLAINED, Habits, Worker, arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WARM_SHARE = 0.1
"""Of a run, left out at its beginning."""
MARGIN_S = 0.020
JUMP = 0.4, 0.5
"""From when to when in a run an engine that jumps is another."""


@dataclass(frozen=True)
class Load:
    """Posts, as a share of what the engine can do."""

    name: str
    share: float
    bursts: bool = False


LOADS = (Load("70 %", 0.7), Load("saturation", 2.0), Load("bursts", 0.6, bursts=True))


@dataclass(frozen=True)
class Outcome:
    """What came of one run."""

    busy: float
    """Share of time with at least the saturating number of prompts in work, of the worker with least."""
    worked: float
    """Share of time in which the engine computed."""
    posts_per_s: float
    p50_s: float
    p99_s: float
    quiet_p99_s: float
    depth: float
    """Mean number of micro-batches that the rule allowed."""
    batch_posts: float
    recovered_s: float
    """Where the engine jumps: so long after it is back posts still came that took longer than the bound."""


def run(
    speed: Speed,
    load: Load,
    make: Callable[[int], Rule],
    *,
    posts: int,
    seed: int,
    workers: int = 1,
    habits: Habits | None = None,
) -> Outcome:
    """Simulate one run."""
    habits = habits or Habits(speed.saturating)
    per_s = capacity(replace(speed, jump=(1.0, 0.0))) * load.share
    burst_posts = BURSTS_IN * speed.saturating if load.bursts else 0
    coming = arrivals(per_s, posts, speed.tokens, seed, burst_posts=burst_posts)
    last = coming[-1].at
    events = Events()
    back = last * JUMP[1]
    one = engine(speed, events, (last * JUMP[0], back))
    crew = [Worker(events, one, make(speed.saturating), habits, speed.saturating) for _ in range(workers)]
    for number, post in enumerate(coming):
        worker = crew[number % workers]
        events.at(post.at, lambda worker=worker, post=post: worker.arrive(post))  # type: ignore[misc]
    begin = last * WARM_SHARE
    events.run(begin)
    before = [worker.busy.busy_s() for worker in crew]
    worked = one.worked_s
    events.run(last)
    wall = last - begin
    shares = [(worker.busy.busy_s() - start) / wall for worker, start in zip(crew, before, strict=True)]
    worked = (one.worked_s - worked) / wall
    done = [f for worker in crew for f in worker.finished if f.at >= begin]
    rate = len(done) / wall
    if load.share < 1:
        events.run(last * 10)
        done = [f for worker in crew for f in worker.finished if f.post.at >= begin]
    depths = [depth for worker in crew for at, depth in worker.depths if begin <= at <= last]
    everyone = sorted(f.seconds for f in done)
    quiet = sorted(f.seconds for f in done if f.post.tenant == "quiet")
    return Outcome(
        min(shares),
        min(1.0, worked),
        rate,
        _quantile(everyone, 0.5),
        _quantile(everyone, 0.99),
        _quantile(quiet, 0.99),
        sum(depths) / len(depths) if depths else 0.0,
        rate * wall / max(1, len(depths)),
        max((f.post.at - back for f in done if f.post.at > back and f.seconds > bound_s(speed)), default=0.0),
    )


def _quantile(sorted_values: Sequence[float], share: float) -> float:
    if not sorted_values:
        return 0.0
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


@cache
def capacity(speed: Speed) -> float:
    """Posts a second of an engine that never waits: six micro-batches always in work."""
    events = Events()
    one = engine(speed, events, (0, 0))
    worker = Worker(events, one, Fixed(6, whole=True), Habits(speed.saturating), speed.saturating)
    for post in arrivals(1e6, 60 * speed.saturating, speed.tokens, 0):
        worker.arrive(replace(post, at=0.0))
    events.run(1e6)
    ends = [f.at for f in worker.finished]
    middle = len(ends) // 4, len(ends) * 3 // 4
    return (middle[1] - middle[0]) / (ends[middle[1]] - ends[middle[0]])


@cache
def micro_batch_s(speed: Speed) -> float:
    """Time of one full micro-batch at an engine with nothing else in work, scored and explained."""
    events = Events()
    one = engine(replace(speed, cold_tokens=0), events, (0, 0))
    ended: list[float] = []
    explained = max(1, round(speed.saturating * EXPLAINED))
    one.score(
        [round(speed.tokens)] * speed.saturating,
        lambda: one.explain(explained, lambda: ended.append(events.now)),
    )
    events.run(1e4)
    return ended[0]


def bound_s(speed: Speed) -> float:
    """What 99 of 100 posts are to stay below at 70 % of what the engine can do."""
    return 2 * micro_batch_s(replace(speed, jump=(1.0, 0.0))) + MARGIN_S
