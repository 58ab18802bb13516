"""When more of the screen's answers are wrong than tolerated: decided one sample after the other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p

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
    """How likely so many wrong ones or more are, if this share is wrong; for more than are to be expected."""
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
class Tally:
    """The samples of one count. It begins anew after ``most``, so that a good past hides no bad present."""

    most: int
    samples: int = 0
    wrong: int = 0

    def add(self, *, wrong: bool) -> None:
        """Count one sample."""
        if self.samples >= self.most:
            self.samples = self.wrong = 0
        self.samples += 1
        self.wrong += wrong
