"""Rank: in which order cases come. Pure.

What a case weighs is harm × uncertainty × urgency × reach. Urgency doubles with every half-life that passes, so the order of two
cases never changes: one number a case, made once, orders them all. A database finds the first by an index.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, NamedTuple

from sluicegate.schemas import Post, Scores, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection

_LEAST = 0.05
"""No term makes a case vanish."""
_UNKNOWN_HARM = 0.5
_CLOSE = 0.2
"""Two severities whose probabilities differ by less are close: it was chosen, and not measured."""


class RankTerms(NamedTuple):
    """What a case weighs, term by term."""

    harm: float
    """From 0 to 1: the probability of unsafe, and half of that of controversial."""
    uncertainty: float
    """From 0 to 1: the entropy of the three scores; 1 where the post could not be scored."""
    reach: float
    """How many people read it, from 1."""
    due_at: float
    """Unix seconds by which it should be decided."""

    def rank(self, half_life_s: float) -> float:
        """The order: a smaller one comes first. Two cases keep their order for ever."""
        return self.due_at / half_life_s - math.log2(self.harm * self.uncertainty * self.reach)

    def urgency(self, now: float, half_life_s: float) -> float:
        """1 when it is due, half of that one half-life before, and twice that one after."""
        return math.pow(2.0, max(-60.0, min(60.0, (now - self.due_at) / half_life_s)))


def terms(verdict: Verdict, reach: float, sla_s: float) -> RankTerms:
    """What the case of a verdict weighs."""
    scores = verdict.scores
    harm = _UNKNOWN_HARM if scores is None else scores.unsafe + scores.controversial / 2
    uncertainty = 1.0 if scores is None else _entropy(scores)
    due_at = verdict.judged_at.timestamp() + sla_s
    return RankTerms(max(_LEAST, harm), max(_LEAST, uncertainty), max(1.0, reach), due_at)


def is_close(verdict: Verdict) -> bool:
    """Whether another severity was nearly as likely as the likeliest. A post that could not be scored is close to none."""
    if verdict.scores is None:
        return False
    scores = verdict.scores
    *_, second, first = sorted((scores.safe, scores.controversial, scores.unsafe))
    return first - second < _CLOSE


def is_new(verdict: Verdict, familiar: Collection[str]) -> bool:
    """Whether a post is in a language that people have hardly decided in. One whose language nobody named is new to none.

    Args:
        verdict: Of the post.
        familiar: Primary tags of the languages in which they have, such as ``en``.
    """
    return verdict.language is not None and verdict.language.partition("-")[0].lower() not in familiar


def reach_of(post: Post, name: str | None) -> float:
    """The number of readers that a post's metadata names; 1 where there is none."""
    value = post.metadata.get(name) if name is not None else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 1.0
    return min(max(1.0, float(value)), 1e12)


def chance(salt: str, *names: object) -> float:
    """A number from 0 to 1 that is the same whenever these names come again, and even over all names."""
    found = hashlib.sha256("\x00".join([salt, *map(str, names)]).encode()).digest()
    return int.from_bytes(found[:8], "big") / 2**64


def _entropy(scores: Scores) -> float:
    shares = [scores.safe, scores.controversial, scores.unsafe]
    return -sum(share * math.log(share, 3) for share in shares if share > 0)
