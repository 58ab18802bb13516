"""The generated part of a run: a sample of changes of the main path, and whether the tests of their rooms notice.

At least 95 % of the sample must be caught. Each survivor needs a test or an entry in `accepted.py`; one without
fails the run even above 95 %.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mutants.accepted import ACCEPTED
from mutants.covering import Trial, judge, measure, name_of
from mutants.generated import ROOMS, generated, sample
from mutants.mutant import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mutants.accepted import Accepted
    from mutants.covering import Covering
    from mutants.generated import Generated, Room

LEAST_SHARE = 0.95
COUNT = 200
SEED = 1
REPORT = ROOT / "build" / "mutants.json"


@dataclass(frozen=True, slots=True)
class Sampled:
    """What became of the sample."""

    caught: list[Generated]
    survived: list[Generated]
    stale: list[str]
    """Entries of the list of survivors that are no longer true, each with what is wrong with it."""
    unlisted: list[Generated]
    """Survivors without a reason."""

    @property
    def told(self) -> str:
        """Its part of the closing line."""
        return f"generated: {len(self.caught)} of {len(self.caught) + len(self.survived)} caught"

    @property
    def passed(self) -> bool:
        """True if enough was caught and the list of survivors is true."""
        count = len(self.caught) + len(self.survived)
        return len(self.caught) >= LEAST_SHARE * count and not self.stale and not self.unlisted


def choose(
    rooms: Sequence[Room] = ROOMS, *, seed: int = SEED, count: int = COUNT, only: Sequence[str] = ()
) -> list[Generated]:
    """The mutants of a run: those named, or a sample of the rooms.

    Raises:
        RuntimeError: There is no mutant of a name.
    """
    every = [mutant for room in rooms for mutant in generated(room)]
    if not only:
        return sample(every, seed=seed, count=count)
    if unknown := set(only) - {mutant.name for mutant in every}:
        raise RuntimeError(f"no such mutant: {', '.join(sorted(unknown))}")
    return [mutant for mutant in every if mutant.name in only]


def run(chosen: Sequence[Generated], *, jobs: int) -> Sampled:
    """See which of the mutants are noticed, tell each, and write the report.

    Raises:
        RuntimeError: The tests fail without any change, so that their failing would say nothing.
    """
    tests = sorted({test for room in {mutant.room for mutant in chosen} for test in room.test_files()})
    print(f"{len(tests)} files of tests, to see which lines each test runs ...", flush=True)
    covering = measure(frozenset(mutant.file for mutant in chosen), tests, jobs=jobs)
    if covering.failed:
        raise RuntimeError(f"tests fail without any change: {', '.join(covering.failed)}")
    survived = _survivors(chosen, covering, jobs=jobs)
    found = weigh(chosen, {mutant.name for mutant in survived}, ACCEPTED, known=_every())
    for mutant in survived:
        print(f"SURVIVED {mutant.name}\n         {mutant.text}", flush=True)
    for entry in found.stale:
        print(f"STALE    {entry}", flush=True)
    _write(found, REPORT)
    return found


def weigh(
    chosen: Sequence[Generated],
    survived: set[str],
    accepted: Sequence[Accepted],
    *,
    known: dict[str, str],
) -> Sampled:
    """Compare what survived with what may.

    Args:
        chosen: What was tried.
        survived: The names of those that nobody noticed.
        accepted: What may survive.
        known: The change of every mutant that there is, by name.
    """
    listed = {entry.name for entry in accepted}
    tried = {mutant.name for mutant in chosen}
    stale = []
    for entry in accepted:
        if entry.name not in known:
            stale.append(f"{entry.name}: there is no such mutant any more")
        elif known[entry.name] != entry.text:
            stale.append(f"{entry.name}: it is now {known[entry.name]}")
        elif entry.name in tried - survived:
            stale.append(f"{entry.name}: a test catches it")
    remaining = [mutant for mutant in chosen if mutant.name in survived]
    return Sampled(
        [mutant for mutant in chosen if mutant.name not in survived],
        remaining,
        stale,
        [mutant for mutant in remaining if mutant.name not in listed],
    )


def _survivors(mutants: Sequence[Generated], covering: Covering, *, jobs: int) -> list[Generated]:
    trials = [trial for mutant in mutants if (trial := _trial(mutant, covering)).tests]
    caught = set()
    for number, (trial, noticed, seconds) in enumerate(judge(trials, jobs=jobs), 1):
        told = "caught" if noticed else "SURVIVED"
        print(f"{number:4}/{len(trials)} {seconds:5.1f} s  {told:<8} {trial.name}", flush=True)
        if noticed:
            caught.add(trial.name)
    return [mutant for mutant in mutants if mutant.name not in caught]


def _trial(mutant: Generated, covering: Covering) -> Trial:
    change = mutant.change
    lines = None if change.at_import else range(change.first_line, change.last_line + 1)
    tests = covering.running(mutant.file, lines, mutant.room.test_files())
    return Trial(
        mutant.name,
        name_of(mutant.file),
        change.applied((ROOT / mutant.file).read_text(encoding="utf-8")),
        change.at_import,
        tuple(tests),
        within_s=30 + 3 * sum(covering.seconds[test] for test in tests),
    )


def _every() -> dict[str, str]:
    return {mutant.name: mutant.text for room in ROOMS for mutant in generated(room)}


def _write(found: Sampled, path: Path) -> None:
    reasons = {entry.name: entry.why for entry in ACCEPTED}
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "caught": [mutant.name for mutant in found.caught],
        "survived": [
            {"name": mutant.name, "change": mutant.text, "why": reasons.get(mutant.name)}
            for mutant in found.survived
        ],
        "stale": found.stale,
    }
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
