"""Certificate: what the counts of a tally show of a candidate, and what is still missing. Pure.

A candidate is certified when *all* of its terms are shown, each with ``alpha``. So a certificate that is wrong in any
term is given with a probability of at most ``alpha``, however often one looks, and needs no correction for many terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import log

from sluicegate.pipeline.shadow import evidence
from sluicegate.pipeline.shadow.tally import Counted, Dimension, Tally
from sluicegate.schemas import Action

JUDGED = (Dimension.LANGUAGE, Dimension.KIND, Dimension.TENANT)
"""Dimensions whose strata have to be shown. A category is a finding: a stratum of it holds the flagged posts alone, and
a limit for all posts says nothing of these."""


@dataclass(frozen=True, slots=True)
class CertificateTerms:
    """What a candidate has to show.

    Args:
        max_permissive: Share of the posts on which it may be milder than the incumbent; the true share is below it.
        max_shift: By how much its shares of blocks and of reviews may differ from the incumbent's, either way.
        min_posts: Posts of evidence, at least. A stratum with fewer is listed, and not judged.
        min_coverage: Share of the contents that both judged, at least.
        alpha: Probability of a wrong certificate, at most.

    Raises:
        ValueError: A value is impossible.
    """

    max_permissive: float
    max_shift: float
    min_posts: int = 500
    min_coverage: float = 0.98
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not all(0 < one < 1 for one in (self.max_permissive, self.max_shift, self.alpha)):
            raise ValueError("max_permissive, max_shift and alpha are shares between 0 and 1; 0.005 is usual")
        if not 0 < self.min_coverage <= 1:
            raise ValueError("min_coverage is a share above 0 and at most 1; 0.98 is usual")
        if self.min_posts < 1:
            raise ValueError("min_posts is a count of posts; give 1 or more")


class Ruling(StrEnum):
    """What is shown so far."""

    CERTIFIED = "certified"
    REJECTED = "rejected"
    OPEN = "open"
    """Neither. An experiment that ends so is inconclusive."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What is shown of a candidate."""

    ruling: Ruling
    reasons: tuple[str, ...]
    """Why it is rejected, or what a certificate still asks for. A certificate has none."""
    shown: tuple[str, ...]
    """Strata with a share below the limit, such as ``language de``. Of these, at most ``alpha`` are expected to be wrong."""
    unjudged: tuple[str, ...]
    """Strata with too few posts: nothing is said of them. A person has to look at these before a candidate acts there."""


def conclude(
    tally: Tally,
    terms: CertificateTerms,
    *,
    unjoined: int = 0,
    candidate_right: int = 0,
    incumbent_right: int = 0,
) -> Conclusion:
    """What the counts show now.

    Args:
        tally: Counts of this candidate against this incumbent.
        terms: What it has to show.
        unjoined: Contents of which one verdict waits for the other, came too late or came from the future. They count as not compared.
        candidate_right: Blind reviews of posts on which the two differ, where the candidate's action alone was right.
        incumbent_right: The same, for the incumbent.

    Raises:
        ValueError: A count is negative.
    """
    strata = {
        f"{dimension} {name}": counted
        for dimension in JUDGED
        for name, counted in tally.strata[dimension].items()
    }
    judged = {name: one for name, one in strata.items() if one.posts >= terms.min_posts}
    unjudged = strata.keys() - judged
    limit, alpha = terms.max_permissive, terms.alpha
    below = {name: evidence.log_e_below(one.milder, one.posts, limit) for name, one in judged.items()}
    above = {name: evidence.log_e_above(one.milder, one.posts, limit) for name, one in judged.items()}
    shown = evidence.e_bh(below, alpha)
    better = evidence.preferred(candidate_right, incumbent_right, alpha)

    against = _against(tally.all, terms)
    against += [f"{name}: milder on more than {limit:.2%}" for name in sorted(evidence.e_bh(above, alpha))]
    if better is False:
        against.append(
            f"reviewers find the incumbent right in {incumbent_right} of {candidate_right + incumbent_right}"
        )
    missing = _missing(tally.all, terms, unjoined)
    missing += [
        f"{name}: not shown to be milder on less than {limit:.2%}" for name in sorted(judged.keys() - shown)
    ]

    ruling = Ruling.REJECTED if against else Ruling.OPEN if missing else Ruling.CERTIFIED
    return Conclusion(ruling, tuple(against or missing), tuple(sorted(shown)), tuple(sorted(unjudged)))


def _against(counted: Counted, terms: CertificateTerms) -> list[str]:
    found = []
    if evidence.log_e_above(counted.milder, counted.posts, terms.max_permissive) >= log(1 / terms.alpha):
        found.append(f"milder on more than {terms.max_permissive:.2%} of the posts")
    for action in (Action.BLOCK, Action.REVIEW):
        lower, upper = counted.change(action, terms.alpha)
        if lower > terms.max_shift or upper < -terms.max_shift:
            found.append(f"its share of {action} differs by more than {terms.max_shift:.2%}")
    return found


def _missing(counted: Counted, terms: CertificateTerms, unjoined: int) -> list[str]:
    if unjoined < 0:
        raise ValueError("a count is negative; give counts of verdicts")
    found = []
    contents = counted.contents + unjoined
    coverage = counted.coverage * counted.contents / contents if contents else 0.0
    if coverage < terms.min_coverage:
        found.append(
            f"both judged {coverage:.2%} of the contents, and have to judge {terms.min_coverage:.2%}"
        )
    if counted.posts < terms.min_posts:
        found.append(f"{counted.posts} posts are evidence, and {terms.min_posts} have to be")
    if evidence.log_e_below(counted.milder, counted.posts, terms.max_permissive) < log(1 / terms.alpha):
        found.append(f"not shown to be milder on less than {terms.max_permissive:.2%} of the posts")
    for action in (Action.BLOCK, Action.REVIEW):
        lower, upper = counted.change(action, terms.alpha)
        if lower < -terms.max_shift or upper > terms.max_shift:
            found.append(f"its share of {action} may differ by more than {terms.max_shift:.2%}")
    return found
