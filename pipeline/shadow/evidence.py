"""Evidence from counts that may be looked at after every post: e-values, bounds and intervals. Pure.

A test with a fixed number of posts is wrong by far more than its ``alpha`` where people stop as soon as they like what
they see. These are right at every moment. Each bets against what is to be disproved: its wealth begins at 1, and stays
at 1 in the mean as long as that is true. So it reaches ``1 / alpha`` with a probability of at most ``alpha``, however
often one looks (Ville 1939). The wealth is the e-value, and it depends on counts alone. All e-values here are natural
logarithms.

What is disproved holds of the *mean over the posts counted so far*, even where the share drifts, and where it depends
on what came before. Each bet multiplies the wealth by ``1 + stake * (value - mean)``. The product of the expected
factors is at most 1 where the mean of the expectations is on the wrong side: logarithms are concave.
So a certificate speaks of the posts that it rests on, not of those to come (docs/adr/0021).

Sources:
    Ville, Étude critique de la notion de collectif (1939): the bound at every moment.
    Robbins, Ann. Math. Stat. 41 (1970), 1397: mixtures of likelihood ratios, and what they bound for ever.
    Johari, Koomen, Pekelis, Walsh, Oper. Res. 70 (2022), 1806: mixtures in tests of two versions.
    Waudby-Smith, Ramdas, J. R. Stat. Soc. B 86 (2024), 1: bets on the mean of bounded values.
    Wang, Ramdas, J. R. Stat. Soc. B 84 (2022), 822: e-BH.
"""

from __future__ import annotations

from math import exp, inf, lgamma, log, log1p
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BELOW = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Bets that a share is below a limit: by what its odds would be multiplied. Equal parts of the wealth stand on each."""
ABOVE = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""The same, that it is above the limit."""
STAKES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.9)
"""Bets that a difference is above a value: which part of the wealth is staked. Small ones pay where posts are many."""
_WIDTH = 1e-12
"""How exactly a bound is found."""


def log_e_below(hits: int, posts: int, limit: float) -> float:
    """How much speaks for a share below a limit; at least ``log(1 / alpha)`` is a certificate.

    Each bet is the likelihood ratio of a share with ``ratio`` times the odds of the limit. For ``hits`` in ``posts``
    that is ``ratio ** hits / (1 + (ratio - 1) * limit) ** posts``.

    Args:
        hits: Posts with the event.
        posts: Posts counted.
        limit: The share to stay below, between 0 and 1, both excluded.

    Raises:
        ValueError: The counts or the limit are impossible.
    """
    return _log_e_share(hits, posts, limit, BELOW)


def log_e_above(hits: int, posts: int, limit: float) -> float:
    """How much speaks for a share above a limit. As :func:`log_e_below`."""
    return _log_e_share(hits, posts, limit, ABOVE)


def posts_needed(hits: int, limit: float, alpha: float) -> int:
    """With how many posts a certificate for a share below the limit comes, if there are so many hits until then.

    Raises:
        ValueError: The count, the limit or alpha is impossible.
    """
    wanted, few, many = log(1 / _level(alpha)), max(hits, 1), max(2 * hits, 2)
    while log_e_below(hits, many, limit) < wanted:
        few, many = many, 2 * many
    while few < many:  # more posts without a hit only add to it
        middle = (few + many) // 2
        if log_e_below(hits, middle, limit) >= wanted:
            many = middle
        else:
            few = middle + 1
    return many


def share_bounds(hits: int, posts: int, alpha: float) -> tuple[float, float]:
    """A lower and an upper bound of a share. Each is wrong at some time with a probability of at most ``alpha / 2``.

    Raises:
        ValueError: The counts or alpha are impossible.
    """
    wanted = log(2 / _level(alpha))
    _counts(hits, posts - hits)
    lower = _edge(lambda share: log_e_above(hits, posts, share) >= wanted, 0.0, 1.0)
    upper = _edge(lambda share: log_e_below(hits, posts, share) < wanted, 0.0, 1.0)
    return (lower if hits else 0.0), (upper if posts > hits else 1.0)


def log_e_uneven(wins: int, losses: int) -> float:
    """How much speaks against a share of one half, to whichever side.

    The mixture of all shares with equal weight: ``2 ** n * wins! * losses! / (n + 1)!``.

    Raises:
        ValueError: A count is negative.
    """
    _counts(wins, losses)
    return (wins + losses) * log(2) + lgamma(wins + 1) + lgamma(losses + 1) - lgamma(wins + losses + 2)


def preferred(wins: int, losses: int, alpha: float) -> bool | None:
    """True if wins are shown to be more than half, False if losses are; None while neither is.

    Where both are equally likely, either answer comes with a probability of at most ``alpha``. An answer for a side
    that is right in at most half of the pairs comes with a probability of at most ``alpha``, too.

    Raises:
        ValueError: A count or alpha is impossible.
    """
    if log_e_uneven(wins, losses) < log(1 / _level(alpha)):
        return None
    return wins > losses


def log_e_more(up: int, same: int, down: int, than: float) -> float:
    """How much speaks for a mean above ``than``, of values that are 1 (``up``), 0 (``same``) or -1 (``down``).

    The values are moved to ``y`` between 0 and 1, and so is the mean, to ``m``. Each bet multiplies its part of the
    wealth by ``1 - stake + stake * y / m``.

    Args:
        up: Pairs in which the candidate's value is 1 more than the incumbent's.
        same: Pairs in which both are equal.
        down: Pairs in which it is 1 less.
        than: The mean to be above, more than -1 and at most 1.

    Raises:
        ValueError: A count is negative, or the mean impossible.
    """
    _counts(up, same, down)
    if not -1 < than <= 1:
        raise ValueError(f"a mean of {than} is not between -1 and 1; give one above -1")
    return _log_mean(
        [
            up * log1p(stake * (1 - than) / (1 + than))
            + same * log1p(-stake * than / (1 + than))
            + down * log1p(-stake)
            for stake in STAKES
        ]
    )


def difference_bounds(up: int, same: int, down: int, alpha: float) -> tuple[float, float]:
    """Bounds of the mean difference in pairs. Each is wrong at some time with a probability of at most ``alpha / 2``.

    Arguments as for :func:`log_e_more`.

    Raises:
        ValueError: A count or alpha is impossible.
    """
    wanted = log(2 / _level(alpha))
    _counts(up, same, down)
    lower = _edge(lambda mean: log_e_more(up, same, down, mean) >= wanted, -1.0, 1.0)
    upper = -_edge(lambda mean: log_e_more(down, same, up, mean) >= wanted, -1.0, 1.0)
    return lower, upper


def e_bh(log_es: Mapping[str, float], alpha: float) -> frozenset[str]:
    """The strata whose claim is shown: of these, at most a part of ``alpha`` is expected to be wrong (e-BH).

    With ``k`` of ``n`` strata shown, each has an e-value of at least ``n / (k * alpha)``. Give e-values as they
    stand now, not the greatest that they ever were. They may depend on each other in any way.

    Raises:
        ValueError: Alpha is impossible.
    """
    wanted = log(len(log_es) / _level(alpha)) if log_es else inf
    ranked = sorted(log_es, key=lambda name: -log_es[name])
    shown = max((k for k, name in enumerate(ranked, 1) if log_es[name] >= wanted - log(k)), default=0)
    return frozenset(ranked[:shown])


def _log_e_share(hits: int, posts: int, limit: float, ratios: Sequence[float]) -> float:
    _counts(hits, posts - hits)
    if not 0 < limit < 1:
        raise ValueError(f"a limit of {limit} is not between 0 and 1; 0.005 is one post in 200")
    return _log_mean(
        [
            -inf if hits and not ratio else (hits and hits * log(ratio)) - posts * log1p((ratio - 1) * limit)
            for ratio in ratios
        ]
    )


def _log_mean(logs: list[float]) -> float:
    """Logarithm of the mean of numbers that are given by their logarithms, however great."""
    most = max(logs)
    return most + log(sum(exp(one - most) for one in logs) / len(logs))


def _edge(is_before: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition ends that holds below some value, and not above it."""
    while high - low > _WIDTH:
        middle = (low + high) / 2
        if is_before(middle):
            low = middle
        else:
            high = middle
    return low


def _counts(*counts: int) -> None:
    if min(counts) < 0:
        raise ValueError("a count is negative, or greater than the number of all; give counts of posts")


def _level(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, and is a probability between 0 and 1; 0.05 is usual")
    return alpha
