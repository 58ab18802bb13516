"""Posts that come: when, how long, whose, and whether they will be explained. From a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

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
