"""Qualify: which decisions a model may learn from, and what they say of the live engine and of the people. Pure; needs numpy.

Votes are kept apart from labels. A case whose voters disagree, or that rests on one vote of somebody whom the others no longer
agree with, is held until somebody settles it. Near copies that were decided with another post teach nothing new.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sluicegate.engines.adapt.cycle.ledger import SealedDecision, SnapshotRow
from sluicegate.engines.adapt.labels.agreement import (
    Interval,
    Vote,
    ac1_interval,
    alpha_interval,
    counts_by_item,
)
from sluicegate.engines.adapt.labels.raters import (
    LikelyError,
    RaterAgreement,
    dawid_skene,
    likely_errors,
    rater_agreement,
)
from sluicegate.engines.adapt.labels.rates import EngineRates, Pull, Reviewed, engine_rates, pull
from sluicegate.schemas import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


SEVERITY_ORDER: Final[tuple[Severity, ...]] = ("safe", "controversial", "unsafe")
GOLDEN: Final = "golden"
BULK: Final = "bulk"
VOTE: Final = "vote"
"""A person's answer that settled nothing: it says how far people agree, and is no label by itself."""
FINAL: Final = frozenset({"adjudicated", "appeal"})
"""Bases whose word ends a disagreement."""
AUDIT: Final = "audit"
"""The stream that chance picks from all verdicts."""


class HeldCase(NamedTuple):
    """A case that nothing is learnt from yet."""

    case: str
    why: str
    verdicts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Qualified:
    """What may be learnt from, what is held, and what the decisions say."""

    rows: tuple[SnapshotRow, ...]
    held: tuple[HeldCase, ...]
    alpha: Interval
    ac1: Interval
    by_language: Mapping[str, Interval]
    """Alpha of each language with enough items."""
    raters: tuple[RaterAgreement, ...]
    error_rates: Mapping[str, float]
    """By person: how often a vote is likely wrong."""
    golden: Mapping[str, tuple[int, int]]
    """By person: golden cases that were answered rightly, and all."""
    likely_errors: tuple[LikelyError, ...]
    """Labels for people to look at, by case."""
    rates: Mapping[str, EngineRates]
    """Of the live engine, from the uniform stream: ``all`` and by language."""
    pull: Pull | None
    """Of seeing the verdict, among the posts that were sent to review; None without both kinds."""

    @property
    def drifted(self) -> tuple[str, ...]:
        """People whose votes the others no longer agree with."""
        return tuple(one.rater for one in self.raters if one.drifted)


_LEAST_LANGUAGE: Final = 30


def qualify(
    decisions: Sequence[SealedDecision],
    *,
    golden: Mapping[str, Severity],
    row_id: Callable[[SealedDecision, Severity], str],
    splits: Mapping[str, str],
    seed: int = 0,
    engine: str | None = None,
) -> Qualified:
    """Settle every case.

    Args:
        decisions: All of the quarantine, oldest first.
        golden: By case, the severity that was agreed on beforehand. No such case is ever learnt from.
        row_id: Names the row that a decision with this severity gives.
        splits: By case, where earlier snapshots have it.
        seed: Of the intervals.
        engine: Digest of the live engine: rates are of its own verdicts. None takes every engine for it.
    """
    by_case: dict[str, list[SealedDecision]] = defaultdict(list)
    for one in decisions:
        by_case[one.case].append(one)
    votes = [
        Vote(one.case, one.reviewer, SEVERITY_ORDER.index(one.severity))
        for one in decisions
        if one.reviewer is not None and one.basis not in (GOLDEN, BULK) and one.case not in golden
    ]
    agreement = tuple(rater_agreement(votes, seed=seed))
    drifted = {one.rater for one in agreement if one.drifted}
    rows, held = [], []
    for case, all_of_case in by_case.items():
        usable = [one for one in all_of_case if one.basis not in (GOLDEN, BULK)]
        if case in golden or not usable:
            continue
        settled = _settled(usable, drifted)
        if isinstance(settled, str):
            held.append(HeldCase(case, settled, tuple(one.verdict_id for one in usable)))
        elif settled.sealed is not None:
            rows.append(_row(settled, usable, row_id(settled, settled.severity), splits.get(case)))

    counts = counts_by_item(votes)
    model = dawid_skene(votes) if votes else None
    labels = {row.case: SEVERITY_ORDER.index(row.severity) for row in rows}
    settling = [  # a case that three people read is one case
        one for one in decisions if one.basis != VOTE and engine in (None, one.engine)
    ]
    asked = [one for stream, one in _reviewed(decisions, golden) if stream == "review"]
    both = {one.blind for one in asked} == {True, False}
    return Qualified(
        rows=tuple(rows),
        held=tuple(held),
        alpha=alpha_interval(counts, seed=seed),
        ac1=ac1_interval(counts, seed=seed),
        by_language=_by_language(votes, by_case, seed),
        raters=agreement,
        error_rates={} if model is None else model.error_rates(),
        golden=_golden(decisions, golden),
        likely_errors=() if model is None else tuple(likely_errors(model, labels)),
        rates=engine_rates(one for stream, one in _reviewed(settling, golden) if stream == AUDIT),
        pull=pull(asked) if both else None,
    )


def repeats(probability: float | None, most: int) -> int:
    """How often a pass of the training shows a row: once for each post that it stands for, and at most so often.

    Args:
        probability: How likely it was that somebody would be asked; None where nobody knows.
        most: A rare pick stands for a thousand posts, and one error in it would be learnt a thousand times.
    """
    return max(1, round(min(most, 1 / probability))) if probability else 1


def _settled(usable: Sequence[SealedDecision], drifted: set[str]) -> SealedDecision | str:
    """The decision that a case's label comes from, or why there is none yet."""
    final = [one for one in usable if one.basis in FINAL]
    if final:
        return final[-1]
    newest = {one.reviewer: one for one in usable}  # a person's last word counts
    trusted = [one for reviewer, one in newest.items() if reviewer not in drifted]
    if not trusted:
        return "only somebody whom the others no longer agree with decided it; let another person look"
    if len({one.severity for one in trusted}) > 1:
        return "people disagree; let a third one decide"
    settling = [one for one in trusted if one.basis != VOTE]
    return (
        settling[-1] if settling else "nobody whom the others agree with settled it; let another person look"
    )


def _row(
    label: SealedDecision, usable: Sequence[SealedDecision], row_id: str, split: str | None
) -> SnapshotRow:
    newest = {one.reviewer: one for one in usable}
    counted = Counter(one.severity for one in newest.values())
    return SnapshotRow(
        id=row_id,
        case=label.case,
        author=label.author,
        tenant=label.tenant,
        language=label.language,
        severity=label.severity,
        categories=label.categories,
        refusal=label.refusal,
        basis=label.basis or "single",
        votes=(counted["safe"], counted["controversial"], counted["unsafe"]),
        decisions=tuple(one.id for one in usable),
        verdicts=tuple(dict.fromkeys(one.verdict_id for one in usable)),
        engines=tuple(dict.fromkeys(one.engine for one in usable if one.engine is not None)),
        found=label.found,
        sampled_by=label.sampled_by,
        probability=label.probability,
        decided_at=label.reviewed_at,
        split="train" if split == "train" else "dev" if split == "dev" else None,
        sealed=label.sealed,
    )


def _reviewed(
    decisions: Sequence[SealedDecision], golden: Mapping[str, Severity]
) -> list[tuple[str, Reviewed]]:
    """Decisions beside what the verdict said, by the stream that asked for them."""
    found = []
    for one in decisions:
        if one.found is None or one.basis in (GOLDEN, BULK) or one.case in golden:
            continue
        pair = Reviewed(
            item=one.case,
            found=SEVERITY_ORDER.index(one.found),
            decided=SEVERITY_ORDER.index(one.severity),
            probability=one.probability or 1.0,
            language=one.language or "und",
            blind=one.blind,
        )
        found.append((one.sampled_by or "", pair))
    return found


def _golden(
    decisions: Sequence[SealedDecision], golden: Mapping[str, Severity]
) -> dict[str, tuple[int, int]]:
    answered: dict[str, list[bool]] = defaultdict(list)
    for one in decisions:
        if one.case in golden and one.reviewer is not None:
            answered[one.reviewer].append(one.severity == golden[one.case])
    return {name: (sum(right), len(right)) for name, right in sorted(answered.items())}


def _by_language(
    votes: Sequence[Vote], by_case: Mapping[str, Sequence[SealedDecision]], seed: int
) -> dict[str, Interval]:
    languages: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        languages[by_case[vote.item][0].language or "und"].append(vote)
    counted = {name: counts_by_item(one) for name, one in sorted(languages.items())}
    return {
        name: alpha_interval(counts, seed=seed)
        for name, counts in counted.items()
        if (counts.sum(axis=1) > 1).sum() >= _LEAST_LANGUAGE
    }
