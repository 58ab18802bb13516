"""Candidates: how many more micro-batches may be sent now. Pure; each sees what a worker sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from sluicegate.pipeline.flow.depth import Depth

WINDOW = 2048
"""Posts that a worker holds."""


@dataclass
class Seen:
    """What a worker has in its engine."""

    scoring: int = 0
    explaining: int = 0
    """Micro-batches."""
    prompts: int = 0


@dataclass(frozen=True)
class Answered:
    """One micro-batch that was scored."""

    now: float
    prompts: int
    seconds: float
    alone: bool
    """It was sent to an engine that had nothing in work, as far as this worker knows."""
    scored: bool = True
    """Else explained."""


class Rule(Protocol):
    """One way."""

    @property
    def age_s(self) -> float:
        """A post waits no longer for company."""

    def free(self, seen: Seen) -> int:
        """Micro-batches that may be sent now."""

    def answered(self, one: Answered) -> None:
        """Learn from scores that came."""

    def depth(self) -> float:
        """Micro-batches that may be in work at once."""

    def idle(self, seen: Seen) -> bool:
        """A micro-batch that is not full may be sent now."""


class Fixed:
    """A number. ``whole``: an explanation keeps its micro-batch's place, as it did before."""

    age_s = 0.010

    def __init__(self, most: int, *, whole: bool) -> None:
        self._most, self._whole = most, whole

    def free(self, seen: Seen) -> int:
        return self._most - seen.scoring - (seen.explaining if self._whole else 0)

    def idle(self, seen: Seen) -> bool:
        return not seen.prompts

    def answered(self, one: Answered) -> None:
        pass

    def depth(self) -> float:
        return self._most


class Prompts:
    """As many prompts as saturate the engine, and then one micro-batch more."""

    age_s = 0.010

    def __init__(self, saturating: int) -> None:
        self._saturating = saturating

    def free(self, seen: Seen) -> int:
        return max(0, math.ceil((self._saturating + 1 - seen.prompts) / self._saturating))

    def idle(self, seen: Seen) -> bool:
        return not seen.prompts

    def answered(self, one: Answered) -> None:
        pass

    def depth(self) -> float:
        return 2


class _Moving:
    """A limit that moves between one micro-batch and 64."""

    age_s = 0.010

    def __init__(self) -> None:
        self._limit = 2.0
        self._moved_at = 0.0

    def free(self, seen: Seen) -> int:
        return int(self._limit) - seen.scoring

    def idle(self, seen: Seen) -> bool:
        return not seen.prompts

    def depth(self) -> float:
        return self._limit

    def _move(self, to: float) -> None:
        self._limit = min(64.0, max(1.0, to))


class Aimd(_Moving):
    """Up by one for each round of answers within twice the best latency; down by a tenth, once a round, beyond."""

    def __init__(self) -> None:
        super().__init__()
        self._best = math.inf

    def answered(self, one: Answered) -> None:
        if not one.scored:
            return
        each = one.seconds
        self._best = min(self._best, each)
        if each <= 2 * self._best:
            self._move(self._limit + 1 / self._limit)
        elif one.now - self._moved_at > each:
            self._moved_at = one.now
            self._move(self._limit * 0.9)


class Gradient(_Moving):
    """Netflix' Gradient2: the limit times long-term latency over latency, and its square root as a queue."""

    def __init__(self) -> None:
        super().__init__()
        self._long = 0.0

    def answered(self, one: Answered) -> None:
        if not one.scored:
            return
        self._long = one.seconds if not self._long else self._long + (one.seconds - self._long) / 100
        gradient = min(1.0, max(0.5, 1.5 * self._long / one.seconds))
        wanted = self._limit * gradient + math.sqrt(self._limit)
        self._move(self._limit + 0.2 * (wanted - self._limit))


class Vegas(_Moving):
    """TCP Vegas: up while less than two micro-batches queue, down while more than four do, by best latency."""

    def __init__(self) -> None:
        super().__init__()
        self._best = math.inf

    def answered(self, one: Answered) -> None:
        if not one.scored:
            return
        self._best = min(self._best, one.seconds)
        queued = self._limit * (1 - self._best / one.seconds)
        if queued < 2:
            self._move(self._limit + 1 / self._limit)
        elif queued > 4:
            self._move(self._limit - 1 / self._limit)


class Little:
    """What ships: enough for saturation, and twice what the engine does while an answer travels."""

    @property
    def age_s(self) -> float:
        return self._depth.patience_s

    def __init__(self, saturating: int, gain: float = 2.0) -> None:
        self._saturating = saturating
        self._depth = Depth(saturating, WINDOW, gain=gain)

    def free(self, seen: Seen) -> int:
        return self._depth.room(seen.prompts, self._saturating)

    def idle(self, seen: Seen) -> bool:
        return self._depth.hungry(seen.prompts)

    def answered(self, one: Answered) -> None:
        self._depth.answered(one.now, one.prompts, one.seconds, alone=one.alone)

    def depth(self) -> float:
        return self._depth.limit / self._saturating


class LittleSoon(Little):
    """The same, but a micro-batch that is not full is sent while up to twice as much is in work."""

    def idle(self, seen: Seen) -> bool:
        return seen.prompts <= 2 * self._depth.travelling


class LittleAged(Little):
    """The same, but a post waits no longer for company than it did before."""

    @property
    def age_s(self) -> float:
        return 0.010
