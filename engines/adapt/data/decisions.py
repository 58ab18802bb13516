"""Decisions: what becomes of each row, from facts alone. The order of the rows decides nothing. Pure.

Each step takes from what the one before left: corrections replace what they correct, label conflicts (near
duplicates of one setting with several severities) are settled, one of several equal rows stays, what leaks into
dev leaves train, the rest is split.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from sluicegate.engines.adapt.data.rows import RowFacts, Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Clusters:
    """Union-find over the numbers 0 to ``size`` - 1. The order of the links does not matter."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def link(self, one: int, other: int) -> None:
        """Put both into one cluster."""
        first, second = sorted((self.of(one), self.of(other)))
        self._parents[second] = first

    def of(self, one: int) -> int:
        """The lowest number of the cluster that this one is in."""
        root = one
        while self._parents[root] != root:
            root = self._parents[root]
        while self._parents[one] != root:
            self._parents[one], one = root, self._parents[one]
        return root


SEVERITY_RANKS: Final = {"safe": 0, "controversial": 1, "unsafe": 2}


class LabelConflicts:
    """Gathers rows that disagree with a near duplicate.

    Kept by row and not by pair: a campaign of a thousand variants has half a million pairs.

    Args:
        facts: By row.
        by_number: Rows by the number of their bare form.
    """

    def __init__(self, facts: Sequence[RowFacts], by_number: Mapping[int, Sequence[int]]) -> None:
        self.worst: dict[int, int] = {}
        """By row in dispute: rank of the most severe label that it or a row it disagrees with has."""
        self._facts = facts
        self._labels = {
            number: {(facts[row].setting, facts[row].severity) for row in rows}
            for number, rows in by_number.items()
        }
        self._together = Clusters(len(facts))

    def possible(self, one: int, other: int) -> bool:
        """True if rows with these two numbers would disagree."""
        mine, others = self._labels.get(one), self._labels.get(other)
        if mine is None or others is None or (mine == others and len(mine) == 1):
            return False
        return any(
            setting == other_setting and severity != other_severity
            for setting, severity in mine
            for other_setting, other_severity in others
        )

    def take(self, first: Sequence[int], second: Sequence[int]) -> None:
        """Gather those of two sets of near rows that disagree; a set with itself gives each pair once."""
        if len({self._facts[row].severity for row in (*first, *second)}) == 1:
            return
        for one in first:
            for other in second:
                facts, others = self._facts[one], self._facts[other]
                differ = facts.severity != others.severity and facts.form != others.form
                if differ and facts.setting == others.setting:
                    worst = max(SEVERITY_RANKS[facts.severity], SEVERITY_RANKS[others.severity])
                    for row in (one, other):
                        self.worst[row] = max(worst, self.worst.get(row, 0))
                    self._together.link(one, other)

    def sets(self) -> list[tuple[int, ...]]:
        """The rows in dispute, those together that disagree directly or over others."""
        found: dict[int, list[int]] = defaultdict(list)
        for row in sorted(self.worst):
            found[self._together.of(row)].append(row)
        return [tuple(rows) for rows in found.values()]


NearPairs: TypeAlias = Callable[[Callable[[int, int], bool]], Iterator[tuple[int, int]]]
"""Pairs of near duplicates, of those candidates for which the question that is passed says that they matter."""


def assign(clusters: Sequence[Sequence[RowFacts]], *, share: float, seed: int) -> list[bool]:
    """Say of each cluster whether it goes to dev. Neither order nor company of the input plays a part.

    Clusters are grouped by the language and severity that most of their rows have. Each such group gives
    rows to dev up to ``share`` of its rows, rounded; a cluster that would exceed it stays in train.

    Args:
        clusters: Rows that stay together; none is empty.
        share: Of the rows, from 0 to 1.
        seed: Another seed, another choice.
    """
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, rows in enumerate(clusters):
        counts = Counter((row.language or "", row.severity) for row in rows)
        strata[min(counts, key=lambda stratum: (-counts[stratum], stratum))].append(at)
    to_dev = [False] * len(clusters)
    for members in strata.values():
        room = int(share * sum(len(clusters[at]) for at in members) + 0.5)
        for at in sorted(members, key=lambda at: _lot(clusters[at], seed)):
            if len(clusters[at]) <= room:
                to_dev[at] = True
                room -= len(clusters[at])
    return to_dev


def _lot(rows: Sequence[RowFacts], seed: int) -> bytes:
    """Where a cluster stands in the drawing: its own texts and the seed alone say so."""
    return hashlib.blake2b(
        min(row.form for row in rows), key=f"{seed}".encode()[:64], digest_size=16
    ).digest()


class RowDecision(StrEnum):
    """What becomes of a row."""

    TRAIN = "train"
    DEV = "dev"
    SUPERSEDED = "superseded"
    """A reviewer's correction, or a newer one, stands in its place."""
    CONFLICT = "conflict"
    """The same text has another severity elsewhere."""
    NEAR_CONFLICT = "near_conflict"
    """Nearly the same text has."""
    DUPLICATE = "duplicate"
    """An equal row is kept."""
    EXACT_LEAK = "exact_leak"
    """A train row whose text is in dev."""
    NEAR_LEAK = "near_leak"
    """A train row of whose text a near duplicate is in dev, directly or over others."""
    GROUP_LEAK = "group_leak"
    """A train row whose group is in dev, directly or over others."""

    @property
    def is_kept(self) -> bool:
        """True for what is written."""
        return self in (RowDecision.TRAIN, RowDecision.DEV)


class ConflictSettling(StrEnum):
    """What to do about one text with several severities."""

    DROP = "drop"
    KEEP_MOST_SEVERE = "keep-most-severe"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Choices:
    """How to decide."""

    conflicts: ConflictSettling = ConflictSettling.DROP
    near_conflicts: ConflictSettling = ConflictSettling.KEEP
    """Kept by default: a pair that differs in one word and in its label teaches more than either row."""
    dev_share: float = 0.1
    seed: int = 0
    resplit: bool = False
    """True forgets the splits that rows name."""


@dataclass(slots=True)
class RowDecisions:
    """The decisions, and what they rest on."""

    of: list[RowDecision]
    """By row, in the order given."""
    conflicts: list[tuple[int, ...]] = field(default_factory=list)
    """Rows of one case with several severities, as they stood before they were settled."""
    near_conflicts: list[tuple[int, ...]] = field(default_factory=list)
    """Rows of one setting that disagree with a near duplicate, put together where they share one."""
    near_clusters: int = 0
    """Sets of different texts that are near duplicates, directly or over others."""
    near_rows: int = 0
    """Rows that have a near duplicate, rows with the same text aside."""
    largest_cluster: int = 0
    """Rows of the largest set that stays together."""

    def counts(self) -> Counter[RowDecision]:
        """How many rows there are of each decision."""
        return Counter(self.of)


def decide(facts: Sequence[RowFacts], near_pairs: NearPairs, choices: Choices) -> RowDecisions:
    """Decide about every row.

    Args:
        facts: By row.
        near_pairs: :meth:`~sluicegate.engines.adapt.data.near_duplicates.NearDuplicateIndex.pairs` of ``RowFacts.number``.
        choices: How to decide.
    """
    return _Deciding(facts, choices).decide(near_pairs)


class _Deciding:
    def __init__(self, facts: Sequence[RowFacts], choices: Choices) -> None:
        self._facts = [replace(one, split=None) for one in facts] if choices.resplit else list(facts)
        self._choices = choices
        self._decisions: list[RowDecision | None] = [None] * len(facts)
        numbers = max((one.number for one in facts), default=-1) + 1
        self._near = Clusters(numbers)  # of texts
        self._together = Clusters(numbers)  # of texts: near, or of one group
        self._result = RowDecisions([])

    def decide(self, near_pairs: NearPairs) -> RowDecisions:
        self._supersede()
        self._settle_conflicts()
        self._drop_duplicates()
        self._link(near_pairs)
        self._keep_dev_apart()
        self._split()
        self._result.of = [decision or RowDecision.TRAIN for decision in self._decisions]
        return self._result

    def _open(self) -> list[int]:
        return [row for row, decision in enumerate(self._decisions) if decision is None]

    def _by(self, key: Callable[[RowFacts], object]) -> list[list[int]]:
        sets: dict[object, list[int]] = defaultdict(list)
        for row in self._open():
            sets[key(self._facts[row])].append(row)
        return list(sets.values())

    def _supersede(self) -> None:
        """The newest correction of a verdict counts, and corrections count before other rows of the case."""
        for rows in self._by(lambda one: one.verdict_id):
            if self._facts[rows[0]].verdict_id is not None:
                newest = max(rows, key=self._newness)
                for row in rows:
                    if row != newest:
                        self._decisions[row] = RowDecision.SUPERSEDED
        for rows in self._by(lambda one: one.case):
            corrected = [row for row in rows if self._facts[row].verdict_id is not None]
            others = [row for row in rows if self._facts[row].verdict_id is None]
            if corrected and others:
                splits = {self._facts[row].split for row in others}
                inherited: Split | None = "dev" if "dev" in splits else "train" if "train" in splits else None
                for row in corrected:
                    self._facts[row] = replace(self._facts[row], split=inherited)
                for row in others:
                    self._decisions[row] = RowDecision.SUPERSEDED

    def _newness(self, row: int) -> tuple[float, bytes]:
        moment = self._facts[row].reviewed_at
        return (moment.timestamp() if moment else 0.0, self._facts[row].rank)

    def _settle_conflicts(self) -> None:
        for rows in self._by(lambda one: one.case):
            severities = {self._severity(row) for row in rows}
            if len(severities) > 1:
                self._result.conflicts.append(tuple(rows))
                for row in rows:
                    if self._loses(row, max(severities), self._choices.conflicts):
                        self._decisions[row] = RowDecision.CONFLICT

    def _severity(self, row: int) -> int:
        return SEVERITY_RANKS[self._facts[row].severity]

    def _loses(self, row: int, most_severe: int, settling: ConflictSettling) -> bool:
        milder = self._severity(row) < most_severe
        return settling is ConflictSettling.DROP or (settling is ConflictSettling.KEEP_MOST_SEVERE and milder)

    def _drop_duplicates(self) -> None:
        for rows in self._by(lambda one: (one.case, one.severity)):
            kept = min(rows, key=self._precedence)
            for row in rows:
                if row != kept:
                    leaks = self._facts[kept].split == "dev" and self._facts[row].split == "train"
                    self._decisions[row] = RowDecision.EXACT_LEAK if leaks else RowDecision.DUPLICATE

    def _precedence(self, row: int) -> tuple[int, int, bytes]:
        facts = self._facts[row]
        return (
            ("dev", "train", None).index(facts.split),
            0 if facts.verdict_id is not None else 1,
            facts.rank,
        )

    def _link(self, near_pairs: NearPairs) -> None:
        """Put together what must stay together, and settle near conflicts on the way.

        Every row links, dropped ones too: two groups that share a text are one.
        """
        groups: dict[str, int] = {}
        for facts in self._facts:
            if facts.group is not None:
                self._together.link(facts.number, groups.setdefault(facts.group, facts.number))
        by_number: dict[int, list[int]] = defaultdict(list)
        for row in self._open():
            by_number[self._facts[row].number].append(row)
        disputes = LabelConflicts(self._facts, by_number)
        for rows in by_number.values():
            disputes.take(rows, rows)
        for one, other in near_pairs(
            lambda one, other: self._near.of(one) != self._near.of(other) or disputes.possible(one, other)
        ):
            self._near.link(one, other)
            self._together.link(one, other)
            if disputes.possible(one, other):
                disputes.take(by_number[one], by_number[other])
        near: dict[int, list[int]] = defaultdict(list)
        for number, rows in by_number.items():
            near[self._near.of(number)] += rows
        company = [rows for rows in near.values() if len({self._facts[row].form for row in rows}) > 1]
        self._result.near_clusters, self._result.near_rows = len(company), sum(map(len, company))
        self._result.near_conflicts = disputes.sets()
        for row, worst in disputes.worst.items():
            if self._loses(row, worst, self._choices.near_conflicts):
                self._decisions[row] = RowDecision.NEAR_CONFLICT

    def _keep_dev_apart(self) -> None:
        """Train rows leave where dev is; rows without a split go where their company is."""
        dev_texts = {self._facts[row].number for row in self._open() if self._facts[row].split == "dev"}
        near_dev = {self._near.of(number) for number in dev_texts}
        by_dev = {self._together.of(number) for number in dev_texts}
        by_train = {
            self._together.of(self._facts[row].number)
            for row in self._open()
            if self._facts[row].split == "train"
        }
        for row in self._open():
            facts = self._facts[row]
            cluster = self._together.of(facts.number)
            if facts.split == "dev" or (facts.split is None and cluster in by_dev):
                self._decisions[row] = RowDecision.DEV
            elif cluster in by_dev:
                is_near = self._near.of(facts.number) in near_dev
                self._decisions[row] = RowDecision.NEAR_LEAK if is_near else RowDecision.GROUP_LEAK
            elif facts.split == "train" or cluster in by_train:
                self._decisions[row] = RowDecision.TRAIN

    def _split(self) -> None:
        clusters: dict[int, list[int]] = defaultdict(list)
        for row in self._open():
            clusters[self._together.of(self._facts[row].number)].append(row)
        members = [[self._facts[row] for row in rows] for rows in clusters.values()]
        to_dev = assign(members, share=self._choices.dev_share, seed=self._choices.seed)
        for rows, is_dev in zip(clusters.values(), to_dev, strict=True):
            for row in rows:
                self._decisions[row] = RowDecision.DEV if is_dev else RowDecision.TRAIN
        sizes = Counter(
            self._together.of(facts.number)
            for facts, decision in zip(self._facts, self._decisions, strict=True)
            if decision is not None and decision.is_kept
        )
        self._result.largest_cluster = max(sizes.values(), default=0)
