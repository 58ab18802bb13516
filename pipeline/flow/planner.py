"""The planner: which waiting posts go to the engine now. Pure: no clock, no await, no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


@dataclass(slots=True, eq=False)
class WaitingPrompt:
    """What a plan sees of one prompt that waits for the engine."""

    number: int
    """The caller's handle; numbers grow in order of arrival."""
    tokens: int
    tenant: str
    adapter: str | None
    since: float
    """Monotonic seconds of arrival."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one micro-batch."""

    posts: int
    tokens: int
    max_age_s: float
    """Infinite where age alone is no reason to go without company."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send now, and when to ask again."""

    micro_batches: tuple[tuple[int, ...], ...]
    """Numbers by micro-batch, in the order to send them."""
    ask_again_at: float | None
    """Monotonic seconds when a post comes of age; None if only a change can help."""


class Line:
    """Those that wait, in a queue for each adapter and tenant. A plan reads of it no more than it sends.

    Args:
        waiting: In order of arrival.
    """

    def __init__(self, waiting: Iterable[WaitingPrompt] = ()) -> None:
        self._queues: dict[str | None, dict[str, dict[int, WaitingPrompt]]] = {}
        for item in waiting:
            self.add(item)

    def add(self, item: WaitingPrompt) -> None:
        """Put one at the end of its queue."""
        self._queues.setdefault(item.adapter, {}).setdefault(item.tenant, {})[item.number] = item

    def remove(self, item: WaitingPrompt) -> None:
        """Take one out, wherever it stands.

        Raises:
            KeyError: It does not wait.
        """
        tenants = self._queues[item.adapter]
        queue = tenants[item.tenant]
        del queue[item.number]
        if not queue:
            del tenants[item.tenant]
        if not tenants:
            del self._queues[item.adapter]

    def heads(self, adapters: Collection[str | None] | None) -> dict[str | None, _Heads]:
        """The first of each queue, and what reads on behind it, by adapter; all adapters without any named."""
        return {
            adapter: [
                (next(behind), behind) for behind in (iter(queue.values()) for queue in tenants.values())
            ]
            for adapter, tenants in self._queues.items()
            if adapters is None or adapter in adapters
        }


_Heads = list[tuple[WaitingPrompt, "Iterator[WaitingPrompt]"]]


def plan(
    line: Line,
    *,
    adapters: Collection[str | None] | None = None,
    now: float,
    free: int,
    idle: bool,
    limits: BatchLimits,
) -> Plan:
    """Group waiting posts into at most ``free`` micro-batches; the line stays as it is.

    A micro-batch has one adapter, at most ``limits.posts`` posts and ``limits.tokens`` tokens (a
    longer post goes alone). It is sent when it is full, when its oldest post has reached
    ``limits.max_age_s``, when the engine is idle, or before a younger adapter's that is full: waiting
    for company never leaves the engine without work, nor lets a busy adapter pass a quiet one for ever. Within a micro-batch tenants share the tokens evenly; within a tenant the oldest
    goes first, and the oldest post of all is always in the first micro-batch.

    Args:
        line: Who waits.
        adapters: Whose posts may go; all without.
        now: Monotonic seconds.
        free: How many micro-batches may be sent now.
        idle: True if the engine has too little in work to wait for company.
        limits: Bounds of one micro-batch.
    """
    if free <= 0:
        return Plan((), None)
    queues = line.heads(adapters)
    batches: list[tuple[int, ...]] = []
    young: list[list[WaitingPrompt]] = []
    while queues and len(batches) < free:
        adapter = min(queues, key=lambda name: _oldest(queues[name]))
        picked, full, queues[adapter] = _fill(queues[adapter], limits)
        if not queues[adapter]:
            del queues[adapter]
        if full or now >= _of_age_at(picked, limits) or (idle and not batches):
            # Those before it are older than any of its posts.
            batches += [tuple(item.number for item in one) for one in [*young, picked]]
            young = []
        else:
            # Younger adapters may still have a full micro-batch, so go on with the others.
            queues.pop(adapter, None)
            young.append(picked)
    appointments = [_of_age_at(picked, limits) for picked in young] if len(batches) < free else []
    return Plan(tuple(batches[:free]), min((at for at in appointments if at < math.inf), default=None))


def _of_age_at(picked: list[WaitingPrompt], limits: BatchLimits) -> float:
    return min(item.since for item in picked) + limits.max_age_s


def _oldest(heads: _Heads) -> tuple[float, int]:
    return min((head.since, head.number) for head, _ in heads)


def _fill(heads: _Heads, limits: BatchLimits) -> tuple[list[WaitingPrompt], bool, _Heads]:
    """Take one micro-batch out of the queues; say whether it is full, and what is left of them."""
    picked: list[WaitingPrompt] = []
    tokens = 0
    # The tenant with the fewest tokens so far; among equals the one whose next post is oldest. Numbers differ.
    turns = [(0, head.since, head.number, head, behind) for head, behind in heads]
    heapify(turns)
    full = False
    while turns and not full:
        granted, _, _, item, behind = turns[0]
        if picked and tokens + item.tokens > limits.tokens:
            full = True
            break
        follower = next(behind, None)
        if follower is None:
            heappop(turns)
        else:
            heapreplace(turns, (granted + item.tokens, follower.since, follower.number, follower, behind))
        picked.append(item)
        tokens += item.tokens
        full = len(picked) >= limits.posts or tokens >= limits.tokens
    return picked, full, [(head, behind) for *_, head, behind in turns]
