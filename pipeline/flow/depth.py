"""In-flight depth: how many prompts the engine gets to work on at once, found from its own answers. Pure."""

from __future__ import annotations

import math
from collections import deque

_GAIN = 2.0
"""Answers come in lumps, a micro-batch at a time: with no more than its travelling prompts a far engine would idle between them.
TCP's BBR takes the same factor for the same reason; 1 and 4 were simulated as well."""
_PATIENCE, _CONTINUOUS_PATIENCE = 2.0, 0.5
"""In answers' time. Within that of one most company has come; the second is for calls of unequal length. An engine that works
at all calls together gains so little by company that half of one is enough. On a simulated H100 at 70 % load the 99th percentile
fell from 155 to 86 ms, at the same throughput; where calls are taken one after the other it rose from 243 to 415 ms."""
_ANSWERS = 64
"""The rate is that of this many last answers: steady enough, and a second or less of a busy GPU."""
_EASE = 1 / 8
"""So much of the way each answer moves the usual time, as TCP smooths its round trips, and one that had the engine to
itself moves the least time up."""


class Depth:
    """Keeps the engine saturated with as little queued in it as that takes.

    What is on its way to the engine, or back, does not occupy it. By Little's law that is the rate of
    answers times the least time that one takes: the prompts *travelling*. With the saturating number beside
    twice as many the engine always has enough; one more micro-batch is sent whenever less than that is in work.
    A micro-batch that is not full is sent only while no more is in work than travels: else the engine is at work
    on something, and company is waited for until it is not.

    Never less than what saturates the engine, never more than ``most``. An engine with nothing in work always
    gets what there is.

    Args:
        saturating: Prompts that saturate the engine, as it says itself.
        most: Posts that the worker can hold: no more prompts than that are ever of use.
        gain: How many times the travelling prompts are in work beside the saturating ones.
        continuous: The engine works at the prompts of all calls together.
    """

    def __init__(self, saturating: int, most: int, *, gain: float = _GAIN, continuous: bool = False) -> None:
        self._saturating = saturating
        self._most = max(most, saturating)
        self._gain = gain
        self._patience = _CONTINUOUS_PATIENCE if continuous else _PATIENCE
        self._answers: deque[tuple[float, int]] = deque(maxlen=_ANSWERS)
        self._prompts = 0  # of all these answers together
        self._token_rates: deque[float] = deque(maxlen=_ANSWERS)
        self._least_s: float | None = None
        self._usual_s = 0.0

    @property
    def limit(self) -> float:
        """Another micro-batch may be sent while fewer prompts are in work."""
        return min(self._saturating + self._gain * self.travelling, float(self._most))

    @property
    def travelling(self) -> float:
        """Prompts that the engine answers in the least time that an answer takes."""
        return 0.0 if self._least_s is None else self._rate() * self._least_s

    @property
    def patience_s(self) -> float:
        """A post waits no longer for company: else a call that hangs would hold it up."""
        return self._patience * self._usual_s

    def room(self, in_work: int, posts: int) -> int:
        """Micro-batches of at most ``posts`` posts that may be sent beside what is in work."""
        return max(0, math.ceil((self.limit - in_work) / posts))

    def hungry(self, in_work: int) -> bool:
        """True if so little is in work that a micro-batch should be sent although it is not full."""
        return in_work <= min(self.travelling, self.limit)

    def tokens_within(self, seconds: float) -> float | None:
        """Prompt tokens that the engine reads in some time, by the fastest of its last answers; None before any."""
        return max(self._token_rates) * seconds if self._token_rates else None

    def answered(self, now: float, prompts: int, seconds: float, *, alone: bool, tokens: int = 0) -> None:
        """Learn from one answered call.

        Args:
            now: Monotonic seconds of the answer.
            prompts: How many were asked.
            seconds: How long it took.
            alone: It was sent while nothing else was in work, so that it did not wait for others of ours.
            tokens: Of those prompts, as far as the call had to compute them.
        """
        if len(self._answers) == _ANSWERS:
            self._prompts -= self._answers[0][1]
        self._answers.append((now, prompts))
        self._prompts += prompts
        if tokens and seconds > 0:
            self._token_rates.append(tokens / seconds)
        self._usual_s += (seconds - self._usual_s) * _EASE
        if self._least_s is None or seconds < self._least_s:
            self._least_s = seconds
        elif alone:
            self._least_s += (seconds - self._least_s) * _EASE

    def reset(self) -> None:
        """Forget everything: another engine may answer from now on, or the same one in another state."""
        self._answers.clear()
        self._prompts = 0
        self._token_rates.clear()
        self._least_s = None
        self._usual_s = 0.0

    def _rate(self) -> float:
        """Prompts answered a second."""
        if len(self._answers) < 2:
            return 0.0
        (first, uncounted), (last, _) = self._answers[0], self._answers[-1]
        if last <= first:
            return 0.0
        return (self._prompts - uncounted) / (last - first)
