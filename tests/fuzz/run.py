"""Fuzzes for a given time and ends by itself.

python -m fuzz.run                        ten minutes, all targets
python -m fuzz.run --seconds 60 policies  one minute, one target

An input that breaks a target's promise is made as small as it gets and written to the corpus, where
every later `make test` runs it. Fix the fault, give the file a name that says what it is, and commit it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings

from fuzz.target import CORPUS
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.target import Target

_ROUND_EXAMPLES = 200  # the time is looked at between rounds
_REPORT_S = 15.0
_FRAMES = 3


@dataclass(slots=True)
class Tally:
    """What was tried on one target."""

    examples: int = 0
    slowest_s: float = 0.0
    broken_by: bytes | None = None
    why: str = ""


def fuzz_round(target: Target, tally: Tally, *, examples: int) -> None:
    """Try so many new inputs, or fewer where one breaks the promise; that one is made small."""
    last = b""

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(target.inputs)
    def attempt(raw: bytes) -> None:
        nonlocal last
        last = raw
        tally.examples += 1
        started = time.perf_counter()
        target.check(raw)
        tally.slowest_s = max(tally.slowest_s, time.perf_counter() - started)

    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        tally.broken_by = last  # the smallest one is tried last
        tally.why = f"{type(error).__name__} at " + " < ".join(
            f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
            for frame in reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
        )


def keep(target: Target, raw: bytes, corpus: Path) -> Path:
    """Write an input to the corpus, named by its content until somebody names it."""
    path = corpus / target.name / f"found-{hashlib.sha256(raw).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def fuzz(
    targets: Sequence[Target], *, seconds: float, corpus: Path, until_broken: bool = False
) -> dict[str, Tally]:
    """Fuzz the targets in turns, until the time is over; a broken one is left out from then on.

    Args:
        targets: What to fuzz.
        seconds: For all together; the round that is begun is finished.
        corpus: Folder that findings are written to.
        until_broken: End with the first target that breaks.
    """
    tallies = {target.name: Tally() for target in targets}
    started = shown = time.monotonic()
    left = list(targets)
    while left:
        for target in list(left):
            tally = tallies[target.name]
            fuzz_round(target, tally, examples=_ROUND_EXAMPLES)
            if tally.broken_by is not None:
                path = keep(target, tally.broken_by, corpus)
                print(f"BROKEN {target.name}: {tally.why}\n  input kept as {path}", flush=True)
                left.remove(target)
            now = time.monotonic()
            if now - shown >= _REPORT_S:
                shown = now
                total = sum(one.examples for one in tallies.values())
                print(f"{now - started:5.0f} of {seconds:.0f} s, {total} examples", flush=True)
            tried = all(one.examples for one in tallies.values())
            if tried and (now - started >= seconds or (until_broken and len(left) < len(tallies))):
                return tallies
    return tallies


def closing_lines(tallies: dict[str, Tally]) -> str:
    """One line for each target, and one for all."""
    rows = [
        f"{name:<14} {tally.examples:>8} examples, slowest {tally.slowest_s * 1000:6.0f} ms"
        f"{'' if tally.broken_by is None else '  BROKEN'}"
        for name, tally in tallies.items()
    ]
    held = sum(tally.broken_by is None for tally in tallies.values())
    total = sum(tally.examples for tally in tallies.values())
    return "\n".join((*rows, f"fuzz: {held} of {len(tallies)} held, {total} examples"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all of: {', '.join(TARGETS)}")
    parser.add_argument(
        "--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS") or 600), help="for all together"
    )
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="where a finding is kept")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.targets) - TARGETS.keys()):
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    targets = [target for name, target in TARGETS.items() if not options.targets or name in options.targets]
    tallies = fuzz(targets, seconds=options.seconds, corpus=options.corpus)
    print(closing_lines(tallies))
    return 0 if all(tally.broken_by is None for tally in tallies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
