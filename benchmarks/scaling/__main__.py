"""Simulate scaling over some days and write the report: scaling.json, scaling.md and scaling.png.

    PYTHONPATH=benchmarks python -m scaling [--out benchmarks/reports]

Everything is simulated, from seeds: equal values of the chart have equal reports. Needs no cluster and no GPU.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.compare import compared, contenders, days, elsewhere, shipped
from scaling.day import World, simulate
from scaling.plot import draw
from scaling.report import COMMAND, page
from scaling.search import choose, search
from shared.report import REPORTS, options, write

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEDS, SEARCH_SEEDS = (1, 2, 3, 4, 5), (101, 102)
ELSEWHERE_DAYS = 3
DRAWN_SEED, DRAWN = 1, 2


def gather(world: World) -> dict[str, Any]:
    """Simulate everything."""
    values = shipped()
    arrived = days(SEEDS, world)
    ways = compared(contenders(values, arrived, world), arrived, world)
    print("compared", flush=True)
    tried = search(values, days(SEARCH_SEEDS, world), world)
    print("searched", flush=True)
    return {
        "command": COMMAND,
        "simulated": True,
        "world": asdict(world),
        "seeds": SEEDS,
        "search_seeds": SEARCH_SEEDS,
        "values": values,
        "ways": ways,
        "search": [asdict(one) for one in tried],
        "chosen": asdict(choose(tried)),
        "elsewhere_days": ELSEWHERE_DAYS,
        "elsewhere": elsewhere(values, days(SEEDS[:ELSEWHERE_DAYS], world), world),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the three files."""
    parser = options(__doc__)
    parser.add_argument("--out", type=Path, default=REPORTS)
    out: Path = parser.parse_args(arguments).out
    started, world = time.monotonic(), World()
    document = gather(world)
    write(out, "scaling", document, page(document, world))
    posts = days((DRAWN_SEED,), world)
    drawn = {
        way.name: simulate(posts[DRAWN_SEED], way, world, DRAWN_SEED)
        for way in contenders(document["values"], posts, world)[:DRAWN]
    }
    draw(out / "scaling.png", document, posts[DRAWN_SEED], drawn, world)
    print(f"scaling: simulated in {time.monotonic() - started:.0f} s, {out / 'scaling.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
