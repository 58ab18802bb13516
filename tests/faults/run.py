"""Plays the fault suite.

python -m faults.run --list
python -m faults.run --only sigkill --seed 7
python -m faults.run --report benchmarks/reports
"""

from __future__ import annotations

import argparse
import random
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import faults.scenarios  # noqa: F401 - registers them
from faults.play import Played, play
from faults.report import closing_line, failure_lines, row, table, write_report
from faults.scenario import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.scenario import Scenario

SHORT_SIZE = 0.1


def chosen(*, only: Sequence[str], short: bool) -> list[Scenario]:
    """The scenarios asked for.

    Raises:
        ValueError: There is none of that name.
    """
    known = {one.name for one in SCENARIOS}
    if unknown := sorted(set(only) - known):
        raise ValueError(f"no such scenario: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [one for one in SCENARIOS if (not only or one.name in only) and (one.short or not short)]


def play_all(scenarios: Sequence[Scenario], *, seed: int, size: float) -> list[Played]:
    """Play scenarios, those that want the same cluster after each other."""
    played: list[Played] = []
    for _, group in groupby(sorted(scenarios, key=by_cluster), key=lambda one: one.cluster):
        alike = list(group)
        with alike[0].make_cluster() as kafka:
            for one in alike:
                print(f"{one.number:>2} {one.name} ...", flush=True)
                played.append(play(one, kafka, seed=seed, size=size))
                print(row(played[-1]), *failure_lines(played[-1]), sep="\n", flush=True)
    return sorted(played, key=lambda one: (one.scenario.number, one.scenario.name))


def by_cluster(one: Scenario) -> tuple[object, ...]:
    """Sort key: scenarios that want the same cluster stand together."""
    return (*one.cluster, one.number, one.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 if a scenario did not keep the promise."""
    parser = argparse.ArgumentParser(
        prog="faults", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="play these")
    parser.add_argument("--short", action="store_true", help="play the shortened set, small")
    parser.add_argument("--seed", type=int, default=None, help="of everything random; printed otherwise")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write faults.json and faults.md there")
    options = parser.parse_args(arguments)
    try:
        scenarios = chosen(only=options.only, short=options.short)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        for one in scenarios:
            print(f"{one.number:>2} {one.name:<28} brokers {one.brokers}{', short set' if one.short else ''}")
        return 0
    seed = random.SystemRandom().randrange(10_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    played = play_all(scenarios, seed=seed, size=SHORT_SIZE if options.short else 1.0)
    if options.report:
        write_report(options.report, played, seed=seed)
    print(table(played), closing_line(played), sep="\n")
    return 0 if all(one.kept for one in played) else 1


if __name__ == "__main__":
    sys.exit(main())
