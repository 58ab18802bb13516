"""Removes one handling of failure after the other in a copy of the tree, and sees the tests notice.

Then it does the same with a sample of small changes that operators make to the main path.

python -m mutants.run                      both parts
python -m mutants.run --only window_order  one of them, or some, by name; of the generated ones, too
python -m mutants.run --room policy        generated ones of some rooms alone
python -m mutants.run --seed 2 --count 50  another sample
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mutants import sampling
from mutants.catalogue import MUTANTS
from mutants.generated import ROOMS
from mutants.mutant import ROOT
from support.command import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mutants.generated import Generated, Room
    from mutants.mutant import Mutant

_FOLDERS = ("schemas", "engines", "pipeline", "src", "tests")
_TEST_S = 30  # a mutant may wait for ever for what it removed; that is noticing, too
_RUN_S = 600
_FAILED = 1  # pytest's own code: some tests failed. Others tell of no such test, or of none that could be run


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of a mutant."""

    mutant: Mutant
    caught: bool
    told: str
    seconds: float


class Copy:
    """A copy of the tree; its code is what its tests import."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        for name in _FOLDERS:
            shutil.copytree(
                ROOT / name,
                folder / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__", "corpus", "reports"),
            )
        shutil.copy(ROOT / "pyproject.toml", folder)
        self._environment = {
            **environment(),
            "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder / 'tests'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        code = "import sluicegate.pipeline.flow.window as one, os; print(os.path.realpath(one.__file__))"
        found = self._run("-c", code, seconds=60).stdout.strip()
        if not found.startswith(str(folder.resolve())):
            raise RuntimeError(f"the copy in {folder} is not what its tests would import, but {found}")

    def test(self, tests: Iterable[str]) -> subprocess.CompletedProcess[str]:
        """Run tests of the copy until one fails."""
        return self._run(
            "-m",
            "pytest",
            "-x",
            "-q",
            "--no-header",
            "--tb=line",
            f"--timeout={_TEST_S}",
            *tests,
            seconds=_RUN_S,
        )

    def notices(self, mutant: Mutant) -> Caught:
        """Apply a mutant, run its tests, and take it back."""
        started = time.monotonic()
        if (stands := mutant.stands(self._root)) != 1:
            return Caught(mutant, False, f"STALE: its text stands {stands} times in {mutant.file}", 0)
        path = self._root / mutant.file
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole.replace(mutant.text, mutant.instead), encoding="utf-8")
        try:
            code = self.test(mutant.tests).returncode
        finally:
            path.write_text(whole, encoding="utf-8")
        told = {_FAILED: "caught", 0: f"SURVIVED: {mutant.why}"}.get(
            code, f"ERROR: pytest ended with {code}, so its tests say nothing"
        )
        return Caught(mutant, code == _FAILED, told, time.monotonic() - started)

    def _run(self, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self._root,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


def run(mutants: Sequence[Mutant], *, jobs: int) -> list[Caught]:
    """See which mutants are noticed.

    Raises:
        RuntimeError: The tests fail without any mutant, so that their failing would say nothing.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(Path(folder) / str(number)))
        copy = copies.get()
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        print(f"{len(tests)} tests without any mutant ...", flush=True)
        whole = copy.test(tests)
        if whole.returncode:
            raise RuntimeError(
                f"the tests fail without any mutant:\n{whole.stdout[-3000:]}{whole.stderr[-1000:]}"
            )
        copies.put(copy)

        def one(mutant: Mutant) -> Caught:
            mine = copies.get()
            try:
                found = mine.notices(mutant)
            finally:
                copies.put(mine)
            print(f"{mutant.name:<32} {found.seconds:5.1f} s  {found.told}", flush=True)
            return found

        with ThreadPoolExecutor(max_workers=jobs) as pool:
            return list(pool.map(one, mutants))


def main(
    arguments: Sequence[str] | None = None,
    mutants: Sequence[Mutant] = MUTANTS,
    rooms: Sequence[Room] = ROOMS,
) -> int:
    """Run the command; 1 if a hand-made mutant was not caught, or too few of the generated ones."""
    parser = argparse.ArgumentParser(
        prog="mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--room", nargs="+", default=[], choices=[room.name for room in rooms])
    parser.add_argument("--seed", type=int, default=sampling.SEED, help="of the sample")
    parser.add_argument("--count", type=int, default=sampling.COUNT, help="how many to generate; 0 for none")
    parser.add_argument("--jobs", type=int, default=1, help="processes at work side by side")
    options = parser.parse_args(arguments)
    # The name of a generated mutant begins with its file.
    by_hand = [name for name in options.only if ":" not in name]
    if unknown := sorted(set(by_hand) - {mutant.name for mutant in mutants}):
        parser.error(f"no such mutant: {', '.join(unknown)}")
    alone = options.only or options.room
    chosen = [mutant for mutant in mutants if mutant.name in by_hand or not alone]
    try:
        drawn = _drawn(options, [name for name in options.only if ":" in name], rooms)
        found = run(chosen, jobs=options.jobs) if chosen else []
        sampled = sampling.run(drawn, jobs=options.jobs) if drawn else None
    except RuntimeError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    told = [f"{sum(one.caught for one in found)} of {len(found)} caught"] if chosen else []
    told += [sampled.told] if sampled is not None else []
    print(f"mutants: {', '.join(told)}")
    return 0 if all(one.caught for one in found) and (sampled is None or sampled.passed) else 1


def _drawn(options: argparse.Namespace, names: Sequence[str], rooms: Sequence[Room]) -> list[Generated]:
    if options.only and not names:
        return []
    wanted = [room for room in rooms if room.name in options.room or not options.room]
    return sampling.choose(wanted, seed=options.seed, count=options.count, only=names)


if __name__ == "__main__":
    sys.exit(main())
