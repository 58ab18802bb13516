"""Watch: counts of a candidate that acts while the incumbent judges the same posts, and what of them is a reason to roll it back. Pure.

The bounds may be looked at after every post (docs/adr/0021). All criteria together are wrong about a good candidate with a
probability of at most ``alpha``, however long it is watched.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import log
from typing import Any, Self

from sluicegate.pipeline.shadow import evidence
from sluicegate.pipeline.shadow.certificate import CertificateTerms
from sluicegate.pipeline.shadow.comparison import Comparison, Outcome, Side
from sluicegate.schemas import Action

SLOW_TIMES, SLOW_MS = 2.0, 1_000.0
"""An answer of the candidate is slow if its engine took more than twice as long as the incumbent's, and a second more. The
shadow that the incumbent judges in has other company in its batches: smaller differences say nothing."""
SLOW_SHARE = 0.01
"""More slow answers than this: then the candidate's p99 is a slow one."""
MORE_OFTEN = 2.0
"""By how much more often than before it may differ from the incumbent. The same two judge the same stream as in the shadow,
so more says that one of them, or the stream, is another one than was certified."""
_CRITERIA = 9
"""Milder, differing more often, blocks up and down, reviews up and down, failures, latency and people; each gets its part of
alpha. A breaker that trips needs no bound."""


@dataclass(slots=True)
class Watch:
    """What was counted since the candidate acts. All fields are counts of posts, unless they say otherwise."""

    posts: int = 0
    """Evidence: one post a cluster and hour that both judged."""
    differ: int = 0
    """Of these, with another action, whichever is the milder one."""
    milder: int = 0
    more_blocked: int = 0
    fewer_blocked: int = 0
    more_reviewed: int = 0
    fewer_reviewed: int = 0
    slow: int = 0
    """Evidence on which the candidate's engine was slow."""
    answered: int = 0
    """All that both answered, with scores or by a failure mode."""
    candidate_failed: int = 0
    """Of these, where it alone failed."""
    incumbent_failed: int = 0
    trips: int = 0
    """Block-volume breakers that opened under the candidate's policy."""
    candidate_right: int = 0
    """Posts on which the two differ and a person found the candidate right, and the incumbent not."""
    incumbent_right: int = 0
    overturned: int = 0
    """Verdicts of the candidate that people overturned, of tenants that agreed to canaries."""
    overturned_incumbent: int = 0
    """The same, of verdicts of the incumbent on other posts of these tenants."""

    @classmethod
    def restore(cls, document: dict[str, Any]) -> Self:
        """From what :meth:`document` gave."""
        return cls(**document)

    def document(self) -> dict[str, int]:
        """All counts, as JSON values."""
        return asdict(self)

    def add(self, comparison: Comparison, *, is_evidence: bool) -> None:
        """Count a post that both judged, or one of them.

        Args:
            comparison: With the candidate's verdict as its candidate, whichever topic it came from.
            is_evidence: What :meth:`~sluicegate.pipeline.shadow.tally.Tally.add` said of it.
        """
        incumbent, candidate = comparison.incumbent, comparison.candidate
        if incumbent is None or candidate is None:
            return
        self.answered += 1
        self.candidate_failed += comparison.outcome is Outcome.CANDIDATE_FAILED
        self.incumbent_failed += comparison.outcome is Outcome.INCUMBENT_FAILED
        if is_evidence:
            self._count_evidence(comparison, incumbent, candidate)

    def _count_evidence(self, comparison: Comparison, incumbent: Side, candidate: Side) -> None:
        before, after = incumbent.action, candidate.action
        self.posts += 1
        self.differ += before is not after
        self.milder += comparison.milder
        self.more_blocked += before is not Action.BLOCK and after is Action.BLOCK
        self.fewer_blocked += before is Action.BLOCK and after is not Action.BLOCK
        self.more_reviewed += before is not Action.REVIEW and after is Action.REVIEW
        self.fewer_reviewed += before is Action.REVIEW and after is not Action.REVIEW
        self.slow += candidate.engine_ms > max(
            SLOW_TIMES * incumbent.engine_ms, incumbent.engine_ms + SLOW_MS
        )

    def reasons(
        self, terms: CertificateTerms, *, share: float | None, certified: tuple[int, int] | None = None
    ) -> tuple[str, ...]:
        """Why the candidate is to be rolled back; none while nothing is shown against it.

        Args:
            terms: What it was certified for. It must not be shown to break them.
            share: Of the posts on which it acts; None where it acts on all, and no decision on others is left to compare with.
            certified: Posts that differed in the shadow, and all posts of evidence there; None where nobody knows.
        """
        alpha = terms.alpha / _CRITERIA
        wanted = log(1 / alpha)
        found = [f"{self.trips} block-volume breakers opened under its policy"] if self.trips else []
        if evidence.log_e_above(self.milder, self.posts, terms.max_permissive) >= wanted:
            found.append(
                f"it is milder on more than {terms.max_permissive:.2%} of the posts: {self.milder} of {self.posts}"
            )
        if certified is not None:
            _, before = evidence.share_bounds(*certified, terms.alpha)
            limit = min(MORE_OFTEN * before, 0.5)
            if evidence.log_e_above(self.differ, self.posts, limit) >= wanted:
                found.append(
                    f"it differs from the incumbent on more than {limit:.2%} of the posts: {self.differ} of {self.posts}, and "
                    f"{certified[0]} of {certified[1]} before it acted"
                )
        for action, up, down in (
            (Action.BLOCK, self.more_blocked, self.fewer_blocked),
            (Action.REVIEW, self.more_reviewed, self.fewer_reviewed),
        ):
            same = self.posts - up - down
            for more, less, way in ((up, down, "up"), (down, up, "down")):
                if evidence.log_e_more(more, same, less, terms.max_shift) >= wanted:
                    found.append(
                        f"its share of {action} is {way} by more than {terms.max_shift:.2%}: {more} against {less} of "
                        f"{self.posts} posts"
                    )
        both = self.answered - self.candidate_failed - self.incumbent_failed
        if evidence.log_e_more(self.candidate_failed, both, self.incumbent_failed, terms.max_shift) >= wanted:
            found.append(
                f"it fails on more than {terms.max_shift:.2%} of the posts beyond the incumbent: "
                f"{self.candidate_failed} against {self.incumbent_failed} of {self.answered}"
            )
        if evidence.log_e_above(self.slow, self.posts, SLOW_SHARE) >= wanted:
            found.append(f"its p99 is slow beside the incumbent's: {self.slow} of {self.posts} answers")
        return (*found, *self._people_against(alpha, share))

    def _people_against(self, alpha: float, share: float | None) -> list[str]:
        # Half of one criterion each.
        found = []
        if evidence.preferred(self.candidate_right, self.incumbent_right, alpha / 2) is False:
            differed = self.candidate_right + self.incumbent_right
            found.append(f"people find the incumbent right in {self.incumbent_right} of {differed} posts")
        decided = self.overturned + self.overturned_incumbent
        # The hash that gives it posts knows nothing of them: of equal judges, it has its share of what is overturned.
        if share is not None and share < 1:
            log_e = evidence.log_e_above(self.overturned, decided, share)
            if log_e >= log(2 / alpha):
                found.append(
                    f"people overturn it more often than the incumbent: {self.overturned} of {decided} overturned "
                    f"verdicts, and it judges {share:.2%} of the posts"
                )
        return found
