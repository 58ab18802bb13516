"""The plan of a run: which cells there are, in which order, and how long they may take. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

OURS, FAUST, BARE, GENERATE, ALONE = "ours", "faust-take", "bare", "generate-always", "engine-alone"
BARE_PARTS = "bare-parts"
SYSTEMS = {
    OURS: "this pipeline: one process of `sluicegate worker`, default settings",
    FAUST: "Faust `take(64, within=0.01)`: decode, prompt, score, explain where the policy asks, publish",
    BARE: "a bare aiokafka → confluent-kafka loop, one post per call",
    BARE_PARTS: "the same loop with this pipeline's prompts: segments, passages and folded forms, too",
    GENERATE: "generate-always: the vendor's layout, the whole answer for each post, calls of 64 posts, four at once",
    ALONE: "the engine alone: the same prompts from memory, in a closed loop at its best concurrency",
}
SWEEP = "sweep"
FLOOR, FLOOR_FOLDS = "floor", "floor-folds"
FAUST_EMPTY, AIOKAFKA_EMPTY = "faust-empty", "aiokafka-empty"
ONE, TWO, THREE, SKEWED = "one", "two", "three", "three-skewed"
WORKERS = {ONE: 1, TWO: 2, THREE: 3, SKEWED: 3}

STAGES: dict[str, tuple[str, ...]] = {
    "h100": (OURS, ALONE, FAUST, BARE, GENERATE),
    "worker": (OURS, FLOOR, FLOOR_FOLDS, FAUST_EMPTY, AIOKAFKA_EMPTY),
    "scale": (ONE, TWO, THREE, SKEWED),
    "latency": (OURS,),
    "cpu": (OURS, ALONE, FAUST, BARE, BARE_PARTS, GENERATE),
}
SWEPT = ("h100", "cpu")
_LEAST_FOR_TAKE = 4 * 64  # of its calls

_EXPECTED_S = {
    "h100": {OURS: 20, ALONE: 13, FAUST: 14, BARE: 14, GENERATE: 36, SWEEP: 16},
    "worker": {OURS: 20, FLOOR: 10, FLOOR_FOLDS: 11, FAUST_EMPTY: 8, AIOKAFKA_EMPTY: 4},
    "scale": {ONE: 18, TWO: 18, THREE: 19, SKEWED: 25},
    "latency": {OURS: 28},
    "cpu": {OURS: 24, ALONE: 18, FAUST: 24, BARE: 30, BARE_PARTS: 30, GENERATE: 50, SWEEP: 24},
}
"""A first guess at seconds on two cores, until cells of the kind have run."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is sent."""

    stream: int = 10_000
    """Posts of the stream, for this pipeline, generate-always and the engine alone."""
    take: int = 4_000
    """Of them for Faust's `take`, which is slower."""
    bare: int = 1_000
    """Of them for one post per call."""
    worker: int = 20_000
    """With an engine that takes no time."""
    scale: int = 2_000
    """For each worker."""
    latency_s: float = 15.0
    cpu: int = 120
    """Distinct posts, stratified, for the CPU model."""
    call_s: float = 60.0
    """A cell's posts may be worked at for so long; its figures are then of those that were answered."""


SMALL = Sizes(
    stream=1_500,
    take=800,
    bare=150,
    worker=2_000,
    scale=300,
    latency_s=4.0,
    cpu=16,
    call_s=60.0,
)
"""To see that everything runs; the figures say nothing."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One system, measured once."""

    stage: str
    system: str
    repeat: int
    """From 1."""

    @property
    def key(self) -> str:
        """Its name in the folder of what is done."""
        return f"{self.stage}/{self.system}/{self.repeat}"

    @property
    def kind(self) -> tuple[str, str]:
        """What it shares with its repeats."""
        return self.stage, self.system


def cells(repeats: int, stages: Collection[str]) -> list[Cell]:
    """All cells in order.

    One repeat of everything after the other, so that a run that is stopped has every figure. Systems
    alternate, and every other repeat begins with the last: what warms up or slows down meets each of them.
    """
    ordered = [name for name in STAGES if name in stages]
    found = [Cell(name, SWEEP, 1) for name in ordered if name in SWEPT]
    for repeat in range(1, repeats + 1):
        for name in ordered:
            systems = STAGES[name] if repeat % 2 else STAGES[name][::-1]
            found += [Cell(name, system, repeat) for system in systems]
    return found


def measurable(cell: Cell, sizes: Sizes) -> bool:
    """False of Faust's take on a sample so small that a call or two of it hold all: nothing is steady in that."""
    return (cell.stage, cell.system) != ("cpu", FAUST) or sizes.cpu >= _LEAST_FOR_TAKE


Took = Mapping[tuple[str, str], Sequence[float]]
"""Seconds of the cells that are done, by kind."""


def pace(took: Took) -> float:
    """How many times as long as guessed the cells have taken so far."""
    known = [
        (sum(seconds) / len(seconds), _EXPECTED_S[stage][system]) for (stage, system), seconds in took.items()
    ]
    return sum(one for one, _ in known) / sum(guess for _, guess in known) if known else 1.0


def expected_s(cell: Cell, took: Took) -> float:
    """How long a cell will take: as its repeats did, or as guessed, at the pace so far."""
    known = took.get(cell.kind)
    return sum(known) / len(known) if known else _EXPECTED_S[cell.stage][cell.system] * pace(took)


def left_s(todo: Sequence[Cell], took: Took) -> float:
    """How long these cells will take together."""
    return sum(expected_s(cell, took) for cell in todo)


def fits(cell: Cell, took: Took, *, remaining_s: float) -> bool:
    """True if a cell will be over within the time that is left: what does not fit is not begun."""
    return expected_s(cell, took) <= remaining_s
