"""Engines on a clock of events: what a call costs, alone and beside others. Discrete events, no sleeping."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sluicegate.engines.backends.fake_profile import FakeProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXPLAINED_TOKENS = 16
"""Tokens of an explanation, as the fake engine reckons them."""


class Events:
    """Simulated time, and what happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do something at a time; of equal times the first asked for comes first."""
        self._numbers += 1
        heapq.heappush(self._heap, (max(when, self.now), self._numbers, act))

    def run(self, until: float) -> None:
        """Let everything happen that happens by then."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.now = until


@dataclass(frozen=True)
class Speed:
    """What an engine is capable of."""

    name: str
    saturating: int
    """Prompts that it says it is saturated with."""
    tokens: float
    """Mean tokens of a prompt that no cache has; their lengths are spread as those of posts are."""
    prefill_per_s: float
    decode_per_s: float
    step_s: float
    overhead_s: float
    """Of a call, outside the engine: half before, half after."""
    step_prompts: int = 256
    step_tokens: int = 8192
    batches: bool = True
    """Takes prompts up in the middle of others; else one micro-batch after the other, as the fake engine does."""
    cold_every_s: float = 0.0
    """As often its prefix cache is emptied, and the first prompts pay for the prefix."""
    cold_tokens: int = 0
    jump: tuple[float, float] = (1.0, 0.0)
    """For a tenth of the time: so many times slower, and so much more overhead."""


H100 = Speed("H100-like", 64, 167, 55_000, 28_000, 0.0024, 0.005)
COMPACT = Speed("H100-like, short prompts", 64, 40, 55_000, 28_000, 0.0024, 0.005)
SERIAL = Speed("fake engine as an H100", 64, 60, 55_000, 28_000, 0.0024, 0.005, batches=False)
CPU = Speed("CPU, 4 slots", 4, 36, 470, 60, 0.012, 0.004, step_prompts=4, step_tokens=512)
COLD = Speed(
    "H100-like, cold prefix", 64, 60, 55_000, 28_000, 0.0024, 0.005, cold_every_s=5.0, cold_tokens=192
)
SLOWER = Speed("H100-like, 4 times slower meanwhile", 64, 167, 55_000, 28_000, 0.0024, 0.005, jump=(4.0, 0.0))
FARTHER = Speed("H100-like, 1 s away meanwhile", 64, 167, 55_000, 28_000, 0.0024, 0.005, jump=(1.0, 1.0))
FAR = Speed("H100-like, 0.5 s away", 64, 167, 55_000, 28_000, 0.0024, 0.5)


class Engine(Protocol):
    """Takes calls and answers them later."""

    worked_s: float
    """Seconds in which it computed."""

    def score(self, tokens: Sequence[int], answered: Callable[[], None]) -> None:
        """One prefill and one token for each prompt."""

    def explain(self, prompts: int, answered: Callable[[], None]) -> None:
        """Some tokens for each of the prompts."""


def engine(speed: Speed, events: Events, jump_at: tuple[float, float]) -> Engine:
    """An engine of its kind; it jumps between two times."""
    return (Continuous if speed.batches else Serial)(speed, events, jump_at)


@dataclass(eq=False)
class _Call:
    answered: Callable[[], None]
    left: int


@dataclass(eq=False)
class _Sequence:
    call: _Call
    prefill: int
    decode: int = 0
    started: bool = field(default=False)


class Continuous:
    """Steps over whatever is there: decoding first, then prefill up to a budget of tokens."""

    def __init__(self, speed: Speed, events: Events, jump_at: tuple[float, float]) -> None:
        self._speed, self._events, self._jump_at = speed, events, jump_at
        self._queue: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._stepping = False
        self._cold = speed.cold_tokens > 0
        self.worked_s = 0.0
        if speed.cold_every_s:
            events.at(speed.cold_every_s, self._chill)

    def score(self, tokens: Sequence[int], answered: Callable[[], None]) -> None:
        call = _Call(answered, len(tokens))
        self._arrive([_Sequence(call, one) for one in tokens])

    def explain(self, prompts: int, answered: Callable[[], None]) -> None:
        call = _Call(answered, prompts)
        self._arrive([_Sequence(call, 1, EXPLAINED_TOKENS - 1) for _ in range(prompts)])

    def _arrive(self, sequences: list[_Sequence]) -> None:
        def taken() -> None:
            self._queue.extend(sequences)
            if not self._stepping:
                self._step()

        self._events.at(self._events.now + self._overhead_s() / 2, taken)

    def _step(self) -> None:
        decoding = [one for one in self._running if not one.prefill]
        budget, prefilled = self._speed.step_tokens - len(decoding), 0
        parts: list[tuple[_Sequence, int]] = []
        for one in [*self._running, *self._queue]:
            if prefilled >= budget:
                break
            if not one.started:
                if len(self._running) >= self._speed.step_prompts:
                    break
                self._running.append(self._queue.popleft())
                one.started = True
                one.prefill += self._speed.cold_tokens if self._cold else 0
            part = min(one.prefill, budget - prefilled)
            prefilled += part
            parts.append((one, part))
        self._stepping = bool(decoding or parts)
        if not self._stepping:
            return
        work_s = prefilled / self._speed.prefill_per_s + len(decoding) / self._speed.decode_per_s
        seconds = max(self._speed.step_s, work_s) * self._slowness()
        self.worked_s += seconds
        self._events.at(self._events.now + seconds, lambda: self._stepped(decoding, parts))

    def _stepped(self, decoding: list[_Sequence], parts: list[tuple[_Sequence, int]]) -> None:
        done = []
        for one in decoding:
            one.decode -= 1
            if not one.decode:
                done.append(one)
        for one, part in parts:
            one.prefill -= part
            if part and not one.prefill:
                self._cold = False
                if not one.decode:
                    done.append(one)
        self._running = [one for one in self._running if one.prefill or one.decode]
        for one in done:
            one.call.left -= 1
            if not one.call.left:
                self._events.at(self._events.now + self._overhead_s() / 2, one.call.answered)
        self._step()

    def _chill(self) -> None:
        self._cold = True
        self._events.at(self._events.now + self._speed.cold_every_s, self._chill)

    def _jumping(self) -> bool:
        return self._jump_at[0] <= self._events.now < self._jump_at[1]

    def _slowness(self) -> float:
        return self._speed.jump[0] if self._jumping() else 1.0

    def _overhead_s(self) -> float:
        return self._speed.overhead_s + (self._speed.jump[1] if self._jumping() else 0.0)


class Serial:
    """The fake engine's own arithmetic: one call after the other, each as a whole."""

    def __init__(self, speed: Speed, events: Events, jump_at: tuple[float, float]) -> None:
        del jump_at
        self._profile = FakeProfile(
            prefill_tokens_per_s=speed.prefill_per_s,
            decode_tokens_per_s=speed.decode_per_s,
            step_s=speed.step_s,
            call_overhead_s=speed.overhead_s,
        )
        self._events, self._free_at = events, 0.0
        self.worked_s = 0.0

    def score(self, tokens: Sequence[int], answered: Callable[[], None]) -> None:
        self._book(self._profile.prefill_s(sum(tokens)), answered)

    def explain(self, prompts: int, answered: Callable[[], None]) -> None:
        self._book(self._profile.decode_s(prompts, EXPLAINED_TOKENS), answered)

    def _book(self, work_s: float, answered: Callable[[], None]) -> None:
        self._free_at = max(self._free_at, self._events.now) + work_s
        self.worked_s += work_s
        self._events.at(self._free_at + self._profile.call_overhead_s, answered)
