"""Grouping: from rows to a calibration, kind by kind and language by language. Pure; needs numpy."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sluicegate.engines.adapt.calibrate.fitting import (
    FOLDS,
    INHERITED,
    Aims,
    Choice,
    calibrated,
    choose,
    fold_numbers,
    part,
    raw_losses,
    rejudged,
    thresholds_of,
)
from sluicegate.engines.adapt.evaluate.measures import Array, MeasuredRows, clusters
from sluicegate.engines.adapt.evaluate.scored import ScoredRow
from sluicegate.engines.bundle import Calibration, Group, Temperature
from sluicegate.schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence


MINIMUM_ROWS = 200
_LEAST_OF_A_SIDE = 0.1  # of the minimum: this many rows labelled safe, and as many that are not

RAW = "raw"
"""Name of what all rows do if no method is surely better: scores stay as they are."""


@dataclass(frozen=True, slots=True)
class GroupingTerms:
    """How rows are grouped and what is wanted of them."""

    aims: Aims
    minimum_rows: int = MINIMUM_ROWS
    """Of a group that gets a mapping and thresholds of its own."""
    language_groups: tuple[tuple[str, ...], ...] = ()
    """Languages that are one group; any other is a group by itself."""
    seed: int = 0
    """Of the folds."""
    folds: int = FOLDS


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration, and by which method each of its parts came about."""

    calibration: Calibration
    methods: tuple[str, ...]
    """Of each group, in their order."""
    fallback_method: str


def fit(rows: Sequence[ScoredRow], terms: GroupingTerms) -> Fitted:
    """Calibrate: all rows, then each kind, then each language group of a kind, each against what is above it.

    Args:
        rows: With probabilities, every one.
        terms: How.
    """
    judged = MeasuredRows.of(rows)
    folds, cluster = fold_numbers(rows, seed=terms.seed, folds=terms.folds), clusters(rows)
    everything = np.arange(len(rows))
    raw = Choice(RAW, Temperature(temperature=1.0), len(rows), raw_losses(judged))
    top = choose(judged, folds, cluster, everything, raw)
    groups: list[Group] = []
    methods: list[str] = []

    def add(kind: Kind, languages: tuple[str, ...], at: Array, above: Choice) -> Choice:
        if not _is_enough(judged.labels[at], terms.minimum_rows):
            return above
        choice = choose(judged, folds, cluster, at, above)
        groups.append(Group(kind=kind, languages=languages, rows=choice.rows, mapping=choice.mapping))
        methods.append(choice.method)
        return choice

    for kind, languages in _places(rows, terms.language_groups).items():
        whole = np.sort(np.concatenate(list(languages.values())))
        of_kind = add(kind, (), whole, top)
        for names, at in languages.items():
            if names and len(at) < len(whole):
                add(kind, names, at, of_kind)
    calibration = Calibration(data=data_digest(rows), groups=tuple(groups), fallback=top.mapping)
    return Fitted(
        _with_thresholds(calibration, rows, judged, terms.aims),
        tuple(methods),
        RAW if top.method == INHERITED else top.method,
    )


def members(group: Group, rows: Sequence[ScoredRow]) -> Array:
    """Numbers of the rows of a group; a kind's are those of all its languages."""
    return np.array(
        [
            at
            for at, row in enumerate(rows)
            if row.kind == group.kind and (not group.languages or _spoken(row) in group.languages)
        ],
        dtype=int,
    )


def data_digest(rows: Sequence[ScoredRow]) -> str:
    """``sha256:…`` over the rows' identities, labels and raw scores, whatever their order."""
    lines = sorted(
        orjson.dumps([row.id, row.kind, row.language, row.severity, row.probabilities]) for row in rows
    )
    digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
    return f"sha256:{digest}"


def applied(calibration: Calibration, rows: Sequence[ScoredRow]) -> Array:
    """``[rows, 3]``: probabilities as a worker with this calibration has them."""
    found = np.empty((len(rows), 3))
    places: dict[int, list[int]] = defaultdict(list)
    mappings: dict[int, Any] = {}
    for at, row in enumerate(rows):
        group = calibration.group(row.kind, row.language)
        mapping = calibration.fallback if group is None else group.mapping
        places[id(mapping)].append(at)
        mappings[id(mapping)] = mapping
    for name, numbers in places.items():
        raw = np.array([rows[at].probabilities for at in numbers])
        found[numbers] = calibrated(mappings[name], raw)
    return found


def _places(
    rows: Sequence[ScoredRow], language_groups: Sequence[tuple[str, ...]]
) -> dict[Kind, dict[tuple[str, ...], Array]]:
    """Numbers of the rows of each kind and language group, the largest first; ``()`` holds those without a language."""
    grouped = {language: group for group in language_groups for language in group}
    places: dict[Kind, dict[tuple[str, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, row in enumerate(rows):
        spoken = _spoken(row)
        names = () if spoken is None else grouped.get(spoken, (spoken,))
        places[row.kind][names].append(at)
    sizes = Counter({kind: sum(map(len, languages.values())) for kind, languages in places.items()})
    return {
        kind: {
            names: np.array(numbers)
            for names, numbers in sorted(places[kind].items(), key=lambda one: (-len(one[1]), one[0]))
        }
        for kind, _ in sorted(sizes.items(), key=lambda one: (-one[1], one[0]))
    }


def _is_enough(labels: Array, minimum_rows: int) -> bool:
    harmful = int((labels > 0).sum())
    return (
        len(labels) >= minimum_rows and min(harmful, len(labels) - harmful) >= minimum_rows * _LEAST_OF_A_SIDE
    )


def _with_thresholds(
    calibration: Calibration, rows: Sequence[ScoredRow], judged: MeasuredRows, aims: Aims
) -> Calibration:
    """Thresholds on what a worker will see, whichever mappings it comes from."""
    served = rejudged(judged, applied(calibration, rows))
    groups = [
        group.model_copy(update={"thresholds": thresholds_of(part(served, members(group, rows)), aims)})
        for group in calibration.groups
    ]
    return calibration.model_copy(update={"groups": tuple(groups), "thresholds": thresholds_of(served, aims)})


def _spoken(row: ScoredRow) -> str | None:
    return row.language.partition("-")[0].lower() if row.language else None
