"""The switch: a screen that is wrong more often than tolerated is switched off, in every worker.

Counts how often the engine disagrees, per screen, action and tolerance. What is off stays off, for that screen,
until somebody resets it; another screen begins on. Facts come and go through the control topic.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from dataclasses import dataclass
from math import exp, lgamma, log, log1p
from typing import TYPE_CHECKING

import structlog

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.facts import LAST_GENERATION, Facts, ScreenFact
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.pipeline.shortcuts.screening import Sample
from sluicegate.schemas import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_NEGLIGIBLE = 1e-12


def exceeds(wrong: int, samples: int, *, tolerance: float, confidence: float) -> bool:
    """True if the lower bound of the share of wrong ones lies above the tolerance.

    The bound is binomial and exact. It is asked after every sample, and can change its answer only at a wrong
    one: so the k-th of these may err with ``(1 - confidence) / (k * (k + 1))``, which sums to
    ``1 - confidence`` however long one looks.
    """
    if wrong <= tolerance * samples:
        return False
    return _at_least(wrong, samples, tolerance) < (1 - confidence) / (wrong * (wrong + 1))


def _at_least(wrong: int, samples: int, share: float) -> float:
    """How likely this many wrong ones or more are, if this share is wrong; for more than are to be expected."""
    if share <= 0:
        return 0.0
    ways = lgamma(samples + 1) - lgamma(wrong + 1) - lgamma(samples - wrong + 1)
    term = total = exp(ways + wrong * log(share) + (samples - wrong) * log1p(-share))
    for number in range(wrong, samples):
        term *= (samples - number) / (number + 1) * share / (1 - share)
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return total


@dataclass(slots=True)
class DisagreementTally:
    """The samples of one count. It begins again after ``most``, so that a good past hides no bad present."""

    most: int
    samples: int = 0
    wrong: int = 0

    def add(self, *, wrong: bool) -> None:
        """Count one sample."""
        if self.samples >= self.most:
            self.samples = self.wrong = 0
        self.samples += 1
        self.wrong += wrong


_log = structlog.get_logger(__name__)

FACTS = 1_000
"""This many facts are taken in. People reset switches and make screens: there are few, unless somebody floods."""
_TALLIES = 256
_TEXTS = 10_000
_Text = tuple[str, "Action", "Action", float, str]
"""What is counted once: screen, what it said, what the engine led to, tolerance, and the content hash."""


class Switch:
    """One per worker; called from its event loop.

    Args:
        settings: When it is thrown.
        clock: Tells when it was thrown.
        metrics: Show what is compared, and what is off.
        own: Digest of this worker's own screen, if it has one.
    """

    def __init__(
        self, settings: ScreenSettings, clock: Clock, metrics: Metrics, own: str | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._own = own
        self._facts = Facts[ScreenFact]()
        self._policy = ""
        self._tallies: OrderedDict[tuple[str, Action, float], DisagreementTally] = OrderedDict()
        self._counted: OrderedDict[_Text, None] = OrderedDict()
        self._announce: Callable[[ScreenFact], None] = lambda _fact: None
        self._known = True

    def announce_to(self, announce: Callable[[ScreenFact], None]) -> None:
        """Say what is told of each screen that is switched off here, so that other workers learn of it."""
        self._announce = announce

    def follow(self, *, followed: bool) -> None:
        """Note whether what others tell is heard: until then, a screen that was switched off must not answer."""
        self._known = followed

    def is_off(self, screen: str) -> bool:
        """True if a screen may answer nothing: it was switched off, or nobody knows yet."""
        return not self._known or self._is_thrown(screen)

    def compare(
        self, sample: Sample, judged: Action, tolerance: float | None, *, policy: str, content: str
    ) -> None:
        """Compare what the screen would have said with what the engine's judgement led to.

        Args:
            sample: What the screen would have said.
            judged: The action that the policy drew from the engine's finding.
            tolerance: The most wrong answers that the tenant bears; None counts in the metric only.
            policy: Digest of the policy that decided: under another one counts begin again.
            content: The post's content hash: one text counts once, however often somebody posts it.
        """
        self._metrics.screen_samples.labels(sample.action.value, judged.value).inc()
        if tolerance is None or self.is_off(sample.screen):
            return
        if policy != self._policy:
            self._policy = policy
            self._tallies.clear()
            self._counted.clear()
        if self._is_counted((sample.screen, sample.action, judged, tolerance, content)):
            return
        key = sample.screen, sample.action, tolerance
        tally = self._tallies.setdefault(key, DisagreementTally(self._settings.off_samples))
        self._tallies.move_to_end(key)
        if len(self._tallies) > _TALLIES:
            self._tallies.popitem(last=False)
        tally.add(wrong=judged is not sample.action)
        confidence = self._settings.off_confidence
        if exceeds(tally.wrong, tally.samples, tolerance=tolerance, confidence=confidence):
            self._throw(sample, tally, tolerance)

    def _is_counted(self, text: _Text) -> bool:
        """True if it was counted before; it is now. Bounded: the one that came least lately is forgotten."""
        before = len(self._counted)
        self._counted[text] = None
        self._counted.move_to_end(text)
        new = len(self._counted) > before
        if len(self._counted) > _TEXTS:
            self._counted.popitem(last=False)
        return not new

    def learn(self, turns: Iterable[ScreenFact]) -> int:
        """Take in what other workers, or who reset a screen, tell; how many of it there was no room for."""
        changed, refused = self._facts.learn(turns, most=FACTS)
        for (screen,) in changed:
            self._changed(screen)
        return refused

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget facts of the control topic."""
        for (screen,) in {place for key in keys if (place := self._facts.remove(key)) is not None}:
            self._changed(screen)

    @property
    def newest(self) -> list[ScreenFact]:
        """The newest fact on every screen that one is known of."""
        return list(self._facts)

    def _is_thrown(self, screen: str) -> bool:
        newest = self._facts.newest((screen,))
        return newest is not None and newest.state == "open"

    def _throw(self, sample: Sample, tally: DisagreementTally, tolerance: float) -> None:
        before = self._facts.newest((sample.screen,))
        turn = ScreenFact(
            state="open",
            screen=sample.screen,
            generation=min(before.generation, LAST_GENERATION) if before is not None else 0,
            at=self._clock.utc(),
            by=socket.gethostname()[:200] or "a worker",
            why=f"the engine disagreed with {tally.wrong} of {tally.samples} sampled answers ({sample.action}); "
            f"tolerated {tolerance:g}",
        )
        self._facts.add(turn)
        self._changed(sample.screen)
        self._announce(turn)

    def _changed(self, screen: str) -> None:
        for key in [key for key in self._tallies if key[0] == screen]:
            del self._tallies[key]
        self._counted.clear()
        newest = self._facts.newest((screen,))
        if newest is not None:
            _log.warning(
                "screen_switched_off" if newest.state == "open" else "screen_reset",
                screen=screen,
                by=newest.by,
                why=newest.why,
            )
        if screen == self._own:
            self._metrics.screen_off.set(int(self._is_thrown(screen)))
