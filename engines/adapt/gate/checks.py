"""Checks: what is compared, and whether it counts against the new model. Pure; needs numpy."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sluicegate.engines.adapt.evaluate.evaluation import GROUPINGS
from sluicegate.engines.adapt.evaluate.measures import clusters
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, ScoredRow
from sluicegate.engines.adapt.gate.differences import (
    ACTIONS,
    MEASURES,
    NOT_SCORED,
    ComparedGroup,
    Difference,
    Measure,
    Sides,
    differences,
    rests_on,
)
from sluicegate.engines.adapt.gate.limits import GateLimits, GatePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


GROUPS = ("language", "category", "kind", "source")
"""By what rows are grouped, in the order of reports."""


ALL = "all"
"""Name and kind of the group that every row is in."""

_MOST_GROUPS = 200  # of one kind: a tenth of a second each on 10,000 rows, and a report that people read
_ROUNDING = 1e-9  # a loss of exactly the limit must not exceed it by a last bit

Outcome = Literal["passed", "regression", "not_limited", "few_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """One comparison, and what came of it."""

    what: str
    outcome: Outcome
    limit: float | None
    rows: int
    """So many it rests on."""
    by: str = ALL
    group: str = ALL
    new: float | None = None
    current: float | None = None
    interval: tuple[float, float] | None = None
    """Of new minus current."""
    needed: int | None = None
    """So many rows it would take; where that is why nothing passed."""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        difference = None if self.new is None or self.current is None else self.new - self.current
        return {
            "what": self.what,
            "by": self.by,
            "group": self.group,
            "outcome": self.outcome,
            "current": _rounded(self.current),
            "new": _rounded(self.new),
            "difference": _rounded(difference),
            "interval": None if self.interval is None else [_rounded(end) for end in self.interval],
            "limit": self.limit,
            "rows": self.rows,
            "needed": self.needed,
        }


def sides_of(
    new: Sequence[ScoredRow], current: Sequence[ScoredRow], act: Callable[[ScoredRow], str]
) -> Sides:
    """Two evaluations of the same rows, in the same order, as arrays."""
    return Sides(
        labels=np.array([SEVERITIES.index(row.severity) for row in new], dtype=int),
        found=np.array([[_found(row) for row in side] for side in (new, current)], dtype=int),
        actions=np.array([[ACTIONS.index(act(row)) for row in side] for side in (new, current)], dtype=int),
        cluster=clusters(new),
    )


def compared(
    rows: Sequence[ScoredRow],
    sides: Sides,
    limits: GateLimits,
    *,
    seed: int,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> tuple[list[GateCheck], dict[str, int]]:
    """The checks on all rows and on each group.

    Args:
        rows: Labelled; of either model.
        sides: The same rows.
        limits: What counts.
        seed: Of the intervals.
        advance: Called with resamples done and in all.

    Returns:
        The checks, and how many groups of each kind were too many to be looked at: the smallest ones.
    """
    everything = ComparedGroup(ALL, ALL, np.arange(len(sides.labels)))
    overall = [(everything, measure) for measure in MEASURES]
    wanted: list[tuple[ComparedGroup, Measure]] = []
    small: list[GateCheck] = []
    left_out: Counter[str] = Counter()
    for by in GROUPS:
        part: GatePart = getattr(limits, by)
        measures = [measure for measure in MEASURES if getattr(part, measure.limit) is not None]
        for at, group in enumerate(_groups(rows, by)):
            if at >= _MOST_GROUPS or not measures:
                left_out[by] += bool(measures)
                continue
            for measure in measures:
                count = rests_on(sides, group, measure)
                if count >= part.minimum_rows:
                    wanted.append((group, measure))
                elif count:
                    small.append(_few_rows(group, measure, part, count, outcome="few_rows"))
    found = [*differences(sides, overall, seed=seed), *differences(sides, wanted, seed=seed, advance=advance)]
    checks = [
        _judged(one, limits.overall if one.group.by == ALL else getattr(limits, one.group.by))
        for one in found
    ]
    measured = {one.measure.name for one in found if one.group.by == ALL}
    checks += [
        _few_rows(everything, measure, limits.overall, 0, outcome="regression")
        for measure in MEASURES
        if measure.name not in measured and getattr(limits.overall, measure.limit) is not None
    ]
    return [*checks, *small], dict(left_out)


def always(
    new: Sequence[ScoredRow], current: Sequence[ScoredRow], checks: Sequence[GateCheck], limits: GateLimits
) -> Iterator[GateCheck]:
    """The checks of the new model alone.

    Args:
        new: As the new model left the rows.
        current: The same rows, in the same order.
        checks: Those on all rows among them.
        limits: What counts.
    """
    bounds = limits.always
    overall = {one.what: one for one in checks if one.by == ALL}
    for name, least, most in (
        ("macro_f1", bounds.macro_f1_least, None),
        ("harmful_recall", bounds.harmful_recall_least, None),
        ("benign_false_positives", None, bounds.benign_false_positives_most),
    ):
        if least is not None or most is not None:
            one = overall.get(name)
            value = None if one is None else one.new
            yield _bounded(
                f"{name}_{'least' if most is None else 'most'}",
                value,
                least,
                most,
                0 if one is None else one.rows,
            )
    newly = sum(
        one.failure is not None and other.failure is None for one, other in zip(new, current, strict=True)
    )
    if bounds.newly_failed_most is not None:
        yield _bounded("newly_failed_most", newly / len(new), None, bounds.newly_failed_most, len(new))
    if bounds.well_formed_least is not None:
        seen = [row.well_formed for row in new if row.well_formed is not None]
        enough = len(seen) >= bounds.explained_rows_least
        yield GateCheck(
            what="explained_rows_least",
            outcome="passed" if enough else "regression",
            limit=bounds.explained_rows_least,
            rows=len(seen),
            new=len(seen),
        )
        if seen:
            share = sum(seen) / len(seen)
            yield _bounded("well_formed_least", share, bounds.well_formed_least, None, len(seen))


def _judged(one: Difference, part: GatePart) -> GateCheck:
    limit: float | None = getattr(part, one.measure.limit)
    outcome: Outcome = "passed"
    too_few = limit is not None and one.rows < part.minimum_rows
    if limit is None:
        outcome = "not_limited"
    elif too_few or (one.loss > limit + _ROUNDING and one.is_certain):
        # On all rows alone there may be too few: groups were chosen by their size.
        outcome = "regression"
    return GateCheck(
        what=one.measure.name,
        outcome=outcome,
        limit=limit,
        rows=one.rows,
        by=one.group.by,
        group=one.group.name,
        new=one.new,
        current=one.current,
        interval=None if one.low is None or one.high is None else (one.low, one.high),
        needed=part.minimum_rows if too_few else None,
    )


def _few_rows(
    group: ComparedGroup, measure: Measure, part: GatePart, rows: int, *, outcome: Outcome
) -> GateCheck:
    return GateCheck(
        what=measure.name,
        outcome=outcome,
        limit=getattr(part, measure.limit),
        rows=rows,
        by=group.by,
        group=group.name,
        needed=part.minimum_rows,
    )


def _bounded(what: str, value: float | None, least: float | None, most: float | None, rows: int) -> GateCheck:
    kept = value is not None and (least is None or value >= least) and (most is None or value <= most)
    return GateCheck(
        what=what,
        outcome="passed" if kept else "regression",
        limit=most if least is None else least,
        rows=rows,
        new=value,
    )


def _groups(rows: Sequence[ScoredRow], by: str) -> list[ComparedGroup]:
    """Largest first."""
    members: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        for name in dict.fromkeys(GROUPINGS[by](row)):
            members[name].append(at)
    ordered = sorted(members.items(), key=lambda one: (-len(one[1]), one[0]))
    return [ComparedGroup(by, name, np.array(numbers)) for name, numbers in ordered]


def _found(row: ScoredRow) -> int:
    return NOT_SCORED if row.found is None else SEVERITIES.index(row.found)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
