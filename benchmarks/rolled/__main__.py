"""Replace three real workers one by one under load, simulate a rollout of 24, and write the report: rolled.json and rolled.md.

    PYTHONPATH=benchmarks:tests python -m rolled [--out FOLDER]

It needs Java and Maven for Apache Kafka, and no GPU. It begins no run after --minutes.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolled.measure import ENGINE, LOAD, PARTITIONS, WAYS, WORKERS, capacity, run, write_posts
from rolled.report import COMMAND, page, simulated
from shared.machine import commit, machine
from shared.report import REPORTS, options, write
from support.kafka import ApacheKafka

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def measured(repeats: int, minutes: float, before: Path | None) -> Iterator[dict[str, Any]]:
    """Run everything, and give the document after each run."""
    until = time.monotonic() + minutes * 60
    ways = [way for way in WAYS if before is not None or not way.before]
    plain = [way for way in ways if not (way.static or way.surge)]
    with tempfile.TemporaryDirectory(prefix="rolled-") as name, ApacheKafka() as kafka:
        folder = Path(name)
        posts = write_posts(folder / "posts.jsonl")
        with contextlib.redirect_stdout(io.StringIO()):  # a lane shows its workers' logs at the end
            found = capacity(kafka, folder / "capacity", posts)
        document: dict[str, Any] = {
            "command": COMMAND,
            "machine": machine(),
            "commit": commit(),
            "before": before.name if before is not None else None,
            "kafka": kafka.version,
            "workers": WORKERS,
            "partitions": PARTITIONS,
            "engine": ENGINE,
            "capacity_per_s": round(found, 1),
            "rate_per_s": round(LOAD * found, 1),
            "runs": [],
        }
        for repeat in range(repeats):
            order = [(way, roll) for way in ways for roll in (True, False) if roll or way in plain]
            for way, roll in order if repeat % 2 == 0 else reversed(order):
                if time.monotonic() > until:
                    return
                with contextlib.redirect_stdout(io.StringIO()):
                    done = run(
                        kafka,
                        folder / f"run-{len(document['runs'])}",
                        posts,
                        way,
                        rate=LOAD * found,
                        roll=roll,
                        before=before,
                    )
                document["runs"].append(done.document())
                told = f"p99 {done.figures['p99_ms']} ms, repeats {done.repeats_share:.2%}"
                print(f"{way.name}, {'rolled' if roll else 'left alone'}: {told}", flush=True)
                yield document


def main(arguments: Sequence[str]) -> int:
    """Write both files."""
    parser = options(__doc__)
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=30.0, help="no run begins after that")
    parser.add_argument("--before", type=Path, help="a tree of an earlier release, to be rolled, too")
    parser.add_argument("--simulate", action="store_true", help="keep what was measured, and simulate again")
    asked = parser.parse_args(arguments)
    path: Path = asked.out / "rolled.json"
    documents = (
        iter([json.loads(path.read_text(encoding="utf-8"))])
        if asked.simulate
        else measured(asked.repeats, asked.minutes, asked.before and asked.before.resolve())
    )
    for document in documents:
        asked.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")  # a stop loses no run
    document["simulated"] = simulated(document["runs"])
    write(asked.out, "rolled", document, page(document))
    print(asked.out / "rolled.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
