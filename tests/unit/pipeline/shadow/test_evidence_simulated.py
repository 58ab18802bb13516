"""Ten thousand experiments, looked at after every post: how often they end in a wrong answer, and how soon in a right one.

Evidence for a low share grows with every post without a hit. So an experiment ends between two hits exactly if the next
hit is later than :func:`posts_needed`, which other tests compare with the evidence itself: to look after every post, it
is enough to draw the gaps between hits.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import count, islice
from math import ceil, log, log1p, sqrt
from statistics import median
from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.shadow import evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALPHA = 0.05
LIMIT = 0.005
EXPERIMENTS = 10_000


@cache
def needed(hits: int) -> int:
    return evidence.posts_needed(hits, LIMIT, ALPHA)


def hits_at(rng: random.Random, share: float) -> Iterator[int]:
    """On which posts, from 1, hits fall."""
    post, scale = 0, log1p(-share)
    while True:
        post += int(log(1 - rng.random()) / scale) + 1
        yield post


def certified(hits: Iterator[int], most: int) -> int | None:
    """With which post the certificate comes; None if it does not with so many."""
    for fallen, post in enumerate(hits):
        if min(post, needed(fallen)) > most:
            return None
        if post > needed(fallen):
            return needed(fallen)
    raise AssertionError("hits never end")


def falsely_certified(most: int) -> float:
    """How probably a share at the limit gets a certificate within so many posts.

    All experiments count, each with its weight: no chance is left in it. With each count of hits, a certificate comes
    exactly if no more have fallen until it is due.
    """
    going, post, false = {0: 1.0}, 0, 0.0
    for hits in count():
        due = needed(hits)
        if due > most:
            return false
        falling = binomial(due - post, LIMIT)
        after: dict[int, float] = {}
        for before, weight in going.items():
            for more, probability in enumerate(falling, before):
                after[more] = after.get(more, 0.0) + weight * probability
        false += after.pop(hits, 0.0)
        going, post = {one: weight for one, weight in after.items() if weight > 1e-16}, due
    raise AssertionError("counts never end")


def binomial(trials: int, share: float) -> list[float]:
    """How probable each count of hits is, up to those that hardly ever come."""
    found = [(1 - share) ** trials]
    while len(found) <= trials and (len(found) < trials * share or found[-1] > 1e-15):
        hits = len(found)
        found.append(found[-1] * (trials - hits + 1) / hits * share / (1 - share))
    return found


@pytest.mark.parametrize("most", [5_000, 20_000, 100_000])
def test_a_share_at_the_limit_is_seldom_certified_however_often_one_looks(most: int) -> None:
    false = falsely_certified(most)
    print(f"a false certificate comes within {most:,} posts with a probability of {false:.3%}")
    assert 0.02 < false <= ALPHA


def test_few_experiments_at_the_limit_end_in_a_certificate() -> None:
    rng, most = random.Random(1), 20_000
    false = sum(certified(hits_at(rng, LIMIT), most) is not None for _ in range(EXPERIMENTS))
    print(f"false certificates: {false / EXPERIMENTS:.2%} of {EXPERIMENTS}, each of {most:,} posts")
    assert false <= ALPHA * EXPERIMENTS
    expected = falsely_certified(most) * EXPERIMENTS
    assert abs(false - expected) < 4 * expected**0.5


@pytest.mark.parametrize(("share", "most"), [(0.001, 3_000), (0.0005, 2_000), (0.002, 4_000)])
def test_half_of_the_experiments_end_soon_where_the_share_is_low(share: float, most: int) -> None:
    rng = random.Random(2)
    ends = sorted(certified(hits_at(rng, share), 10**6) or 10**6 for _ in range(EXPERIMENTS))
    print(f"truth {share:.2%}: median {median(ends):,.0f} posts, nine in ten {ends[9 * EXPERIMENTS // 10]:,}")
    assert median(ends) <= most


def sawtooth(rng: random.Random) -> Iterator[tuple[int, float]]:
    """The share goes to and fro between nothing and twice the limit."""
    while True:
        yield from ((rng.randrange(1, 800), share) for share in (2 * LIMIT, 0.0))


def falling(rng: random.Random) -> Iterator[tuple[int, float]]:
    """The share begins above the limit, and ends below it."""
    yield rng.randrange(500, 1_500), 3 * LIMIT
    while True:
        yield 1_000, 0.3 * LIMIT


def rising(rng: random.Random) -> Iterator[tuple[int, float]]:
    """The share begins just below what a certificate asks for, and then rises."""
    yield rng.randrange(200, 700), 0.0
    while True:
        yield 1_000, 2 * LIMIT


def drifting_hits(
    rng: random.Random, stretches: Iterator[tuple[int, float]]
) -> Iterator[tuple[int, bool, float]]:
    """Hits and the ends of stretches: up to which post, whether it is a hit, and the sum of all shares until then."""
    start, expected = 0, 0.0
    for length, share in stretches:
        post = start
        while share:
            post += int(log(1 - rng.random()) / log1p(-share)) + 1
            if post > start + length:
                break
            yield post, True, expected + (post - start) * share
        start, expected = start + length, expected + length * share
        yield start, False, expected


def recovering_hits(rng: random.Random) -> Iterator[tuple[int, bool, float]]:
    """After each hit the share is nothing for a while, so that the evidence recovers, and then twice the limit."""
    post, expected, quiet = 0, 0.0, round(1 / (2 * LIMIT))
    while True:
        gap = int(log(1 - rng.random()) / log1p(-2 * LIMIT)) + 1
        expected += gap * 2 * LIMIT
        yield post + gap, True, expected
        post += gap + quiet
        yield post, False, expected


def wrongly_certified(drifting: Iterator[tuple[int, bool, float]]) -> bool:
    """Whether an experiment ends in a certificate while the mean share of all posts so far is not below the limit."""
    hits, post, expected = 0, 0, 0.0
    for upto, is_hit, expected_then in drifting:
        end = needed(hits)
        if post < end and (end < upto or (end == upto and not is_hit)):
            mean_then = expected + (expected_then - expected) * (end - post) / (upto - post)
            return mean_then >= LIMIT * end
        if upto > 30_000:
            return False
        hits, post, expected = hits + is_hit, upto, expected_then
    raise AssertionError("hits never end")


@pytest.mark.parametrize(
    "drifting",
    [
        lambda rng: drifting_hits(rng, sawtooth(rng)),
        lambda rng: drifting_hits(rng, falling(rng)),
        lambda rng: drifting_hits(rng, rising(rng)),
        recovering_hits,
    ],
    ids=["sawtooth", "falling", "rising", "recovering"],
)
def test_few_certificates_are_wrong_of_the_posts_that_they_rest_on_where_the_share_drifts(
    drifting: Callable[[random.Random], Iterator[tuple[int, bool, float]]],
) -> None:
    rng = random.Random(3)
    experiments = 2_000
    false = sum(wrongly_certified(drifting(rng)) for _ in range(experiments))
    print(f"{false / experiments:.2%} wrong")
    assert false <= ALPHA * experiments


@cache
def wins_needed(pairs: int) -> int:
    """With how many wins of so many pairs an answer comes."""
    return next(
        wins
        for wins in range((pairs + 1) // 2, pairs + 2)
        if wins > pairs or evidence.preferred(wins, pairs - wins, ALPHA)
    )


def answered(rng: random.Random, right: float, most: int) -> tuple[int, bool] | None:
    """With how many reviewed pairs an answer comes, and whether it is for the candidate."""
    wins = 0
    for pairs in range(1, most + 1):
        wins += rng.random() < right
        least = wins_needed(pairs)
        if wins >= least or pairs - wins >= least:
            return pairs, wins >= least
    return None


def called(needed: Callable[[int], int], most: int, right: float = 0.5) -> tuple[float, float]:
    """How probably the candidate, and the incumbent, is called better within so many pairs.

    All experiments count, each with its weight: no chance is left in it.
    """
    going, better, worse = {0: 1.0}, 0.0, 0.0
    for pairs in range(1, most + 1):
        after: dict[int, float] = {}
        for wins, weight in going.items():
            after[wins] = after.get(wins, 0.0) + weight * (1 - right)
            after[wins + 1] = after.get(wins + 1, 0.0) + weight * right
        least = needed(pairs)
        better += sum(after.pop(wins) for wins in [*after] if wins >= least)
        worse += sum(after.pop(wins) for wins in [*after] if pairs - wins >= least)
        going = after
    return better, worse


def test_a_fair_coin_is_seldom_called_unfair_however_often_one_looks() -> None:
    unfair = sum(called(wins_needed, 2_000))
    print(f"a fair coin is called unfair within 2,000 pairs with a probability of {unfair:.2%}")
    assert 0.02 < unfair <= ALPHA


@pytest.mark.parametrize("right", [0.3, 0.45, 0.49])
def test_a_candidate_that_is_right_in_less_than_half_is_seldom_called_better(right: float) -> None:
    better, worse = called(wins_needed, 1_000, right)
    print(f"right in {right:.0%}: called better with a probability of {better:.2%}, worse with {worse:.2%}")
    assert better < ALPHA / 2
    assert worse > better


def test_a_usual_test_calls_a_fair_coin_unfair_if_one_looks_often() -> None:
    unfair = sum(called(lambda pairs: ceil(pairs / 2 + 1.96 * sqrt(pairs) / 2), 2_000))
    print(f"the usual test does so with a probability of {unfair:.0%}")
    assert unfair > 5 * ALPHA


def test_half_of_the_experiments_know_who_is_right_soon() -> None:
    rng = random.Random(4)
    ends = [answered(rng, 0.6, 5_000) for _ in range(EXPERIMENTS)]
    reviews = median(end[0] if end else 5_000 for end in ends)
    wrong = sum(end is not None and not end[1] for end in ends)
    print(f"60 : 40 is known after a median of {reviews:,.0f} reviews, wrong in {wrong / EXPERIMENTS:.2%}")
    assert reviews <= 250
    assert wrong <= ALPHA * EXPERIMENTS


def test_few_intervals_ever_miss_the_difference_between_pairs() -> None:
    rng = random.Random(5)
    experiments, up, down = 400, 0.06, 0.04
    wanted, missed = log(2 / ALPHA), 0
    for _ in range(experiments):
        ups = sames = downs = 0
        for draw in islice(iter(rng.random, None), 250):
            ups, downs = ups + (draw < up), downs + (up <= draw < up + down)
            sames += draw >= up + down
            # What the bounds invert: the truth is outside exactly if one of the two is shown.
            if (
                max(
                    evidence.log_e_more(ups, sames, downs, up - down),
                    evidence.log_e_more(downs, sames, ups, down - up),
                )
                >= wanted
            ):
                missed += 1
                break
    print(f"the interval ever missed the truth in {missed / experiments:.2%}")
    assert missed <= ALPHA * experiments


def test_few_strata_that_are_shown_are_wrong_though_one_stops_when_one_likes() -> None:
    """Twenty languages, four of them at the limit; the experiment ends when most are shown."""
    rng = random.Random(6)
    parts, any_shown = [], 0
    shares = {f"bad {number}": LIMIT for number in range(4)} | {
        f"good {number}": 0.001 for number in range(16)
    }
    for _ in range(200):
        coming = {name: hits_at(rng, share) for name, share in shares.items()}
        after = {name: [next(hits)] for name, hits in coming.items()}
        shown: frozenset[str] = frozenset()
        for posts in range(500, 6_001, 500):
            log_es = {}
            for name, hits in after.items():
                while hits[-1] <= posts:
                    hits.append(next(coming[name]))
                log_es[name] = evidence.log_e_below(len(hits) - 1, posts, LIMIT)
            shown = evidence.e_bh(log_es, ALPHA)
            if len(shown) >= 12:
                break
        any_shown += bool(shown)
        parts.append(sum(name.startswith("bad") for name in shown) / max(1, len(shown)))
    print(
        f"of the strata shown, {sum(parts) / len(parts):.2%} are wrong; some are shown in {any_shown} of 200"
    )
    assert sum(parts) / len(parts) <= ALPHA
    assert any_shown > 100
