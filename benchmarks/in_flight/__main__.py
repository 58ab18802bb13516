"""Simulate in-flight depth and write the report: in-flight.json, in-flight.md and in-flight.png.

    PYTHONPATH=benchmarks python -m in_flight [--out benchmarks/reports] [--posts 1500]

Everything is simulated, from seeds: equal code has an equal report. Needs no GPU.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from in_flight.compare import SEEDS, compared, habitual, places
from in_flight.report import COMMAND, draw, page
from shared.report import REPORTS, options, write

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Write the three files."""
    parser = options(__doc__)
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--posts", type=int, default=1500, help="of one run; a third of them on the CPU")
    given = parser.parse_args(arguments)
    out: Path = given.out
    started = time.monotonic()
    document = {
        "command": COMMAND,
        "simulated": True,
        "seeds": SEEDS,
        "posts": given.posts,
        "places": places(),
        "rules": compared(given.posts, lambda place: print(place, flush=True)),
        "habits": habitual(given.posts),
    }
    write(out, "in-flight", document, page(document))
    draw(out / "in-flight.png", document)
    print(f"in flight: simulated in {time.monotonic() - started:.0f} s, {out / 'in-flight.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
