"""The planner: which waiting posts go to the engine now. Pure: no clock, no await, no I/O."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Waiting:
    """One judgement that waits for the engine."""

    key: int
    """The caller's handle; keys grow in order of arrival."""
    tokens: int
    tenant: str
    adapter: str | None
    since: float
    """Monotonic seconds of arrival."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one micro-batch."""

    posts: int
    tokens: int
    max_age_s: float
    """Infinite where age alone is no reason to go without company."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send now, and when to ask again."""

    micro_batches: tuple[tuple[int, ...], ...]
    """Keys by micro-batch, in the order to send them."""
    ask_again_at: float | None
    """Monotonic seconds when a post comes of age; None if only a change can help."""


def plan(waiting: Sequence[Waiting], *, now: float, free: int, idle: bool, limits: Limits) -> Plan:
    """Group waiting posts into at most ``free`` micro-batches.

    A micro-batch has one adapter, at most ``limits.posts`` posts and ``limits.tokens`` tokens (a
    longer post goes alone). It is sent when it is full, when its oldest post has reached
    ``limits.max_age_s``, when the engine is idle, or before a younger adapter's that is full: waiting
    for company never leaves the engine without work, nor lets a busy adapter pass a quiet one for ever. Within a micro-batch tenants share the tokens evenly; within a tenant the oldest
    goes first, and the oldest post of all is always in the first micro-batch.

    Args:
        waiting: In order of arrival.
        now: Monotonic seconds.
        free: How many micro-batches may be sent now.
        idle: True if the engine has too little in work to wait for company.
        limits: Bounds of one micro-batch.
    """
    if free <= 0 or not waiting:
        return Plan((), None)
    queues: dict[str | None, dict[str, deque[Waiting]]] = {}
    for item in waiting:
        queues.setdefault(item.adapter, {}).setdefault(item.tenant, deque()).append(item)
    batches: list[tuple[int, ...]] = []
    young: list[list[Waiting]] = []
    while queues and len(batches) < free:
        adapter = min(queues, key=lambda name: _oldest(queues[name]))
        picked, full = _fill(queues[adapter], limits)
        if not queues[adapter]:
            del queues[adapter]
        if full or now >= _of_age_at(picked, limits) or (idle and not batches):
            # Those before it are older than any of its posts.
            batches += [tuple(item.key for item in one) for one in [*young, picked]]
            young = []
        else:
            # Younger adapters may still have a full micro-batch, so go on with the others.
            queues.pop(adapter, None)
            young.append(picked)
    appointments = [_of_age_at(picked, limits) for picked in young] if len(batches) < free else []
    return Plan(tuple(batches[:free]), min((at for at in appointments if at < math.inf), default=None))


def _of_age_at(picked: list[Waiting], limits: Limits) -> float:
    return min(item.since for item in picked) + limits.max_age_s


def _oldest(tenants: dict[str, deque[Waiting]]) -> tuple[float, int]:
    return min((queue[0].since, queue[0].key) for queue in tenants.values())


def _fill(tenants: dict[str, deque[Waiting]], limits: Limits) -> tuple[list[Waiting], bool]:
    """Take one micro-batch out of the queues; say whether it is full."""
    picked: list[Waiting] = []
    tokens = 0
    # The tenant with the fewest tokens so far; among equals the one whose next post is oldest. Keys differ.
    turns = [(0, queue[0].since, queue[0].key, queue[0]) for queue in tenants.values()]
    heapify(turns)
    while turns:
        granted, _, _, item = turns[0]
        if picked and tokens + item.tokens > limits.tokens:
            return picked, True
        queue = tenants[item.tenant]
        queue.popleft()
        if queue:
            heapreplace(turns, (granted + item.tokens, queue[0].since, queue[0].key, queue[0]))
        else:
            heappop(turns)
            del tenants[item.tenant]
        picked.append(item)
        tokens += item.tokens
        if len(picked) >= limits.posts or tokens >= limits.tokens:
            return picked, True
    return picked, False
