"""Noise: a count with a discrete Laplace variate added, drawn exactly. Pure but for the chance that it is given.

The method is that of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020), algorithms 1 and 2:
no floating-point number is used, as their gaps have given away what noise should hide.
"""

from __future__ import annotations

from typing import Protocol

EPSILON = 1
"""What one author's presence may change the odds of a count by: a factor of e. A count is drawn once in a pattern's life."""


class Chance(Protocol):
    """Draws whole numbers; ``random.SystemRandom`` for what leaves the house."""

    def randrange(self, stop: int, /) -> int:
        """One of ``0`` to ``stop - 1``, each as likely."""
        ...


def discrete_laplace(chance: Chance, *, epsilon: int = EPSILON) -> int:
    """A whole number ``x`` with a probability in proportion to ``exp(-epsilon * |x|)``.

    Args:
        chance: Draws.
        epsilon: 1 or more.
    """
    while True:
        whole = 0
        while _below_exp(chance, 1, 1):
            whole += 1
        size = whole // epsilon
        negative = chance.randrange(2) == 1
        if not (negative and size == 0):
            return -size if negative else size


def noisy(count: int, chance: Chance, *, least: int) -> int:
    """A count with noise. It never falls below ``least``: that so many were there is known of every pattern.

    Args:
        count: Of authors; one author changes it by one at most.
        chance: Draws.
        least: The circle's k.
    """
    return max(least, count + discrete_laplace(chance))


def _below_exp(chance: Chance, above: int, below: int) -> bool:
    """True with the probability ``exp(-above / below)``, for a quotient of 1 at most."""
    tried = 1
    while chance.randrange(below * tried) < above:
        tried += 1
    return tried % 2 == 1
