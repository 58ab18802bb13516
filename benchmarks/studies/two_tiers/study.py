"""What a screen saves of the engine's time, in the worker and at the edge, on Apache Kafka; no post may be lost.

    python benchmarks/studies/two_tiers --data posts.jsonl [--tolerance 0.05] [--labelled FOLDER]

The engine is the fake one as a simulated H100. What is reported are counts. `--labelled`
names the rows that the screen was made from: the report then says how many of the posts it learnt from. Java and Maven for
Apache Kafka; it talks to loopback only.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from compare.cluster import PARTITIONS, PATIENT, Answers, Lane, fill
from compare.data import DataError, distinct, even_place, post_id, read_lines, stream
from compare.engines import H100, SAID
from compare.process import check_worker, wait_ready, worker
from compare.watch import lines
from shared.report import REPORTS, ROOT, options, write
from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled
from sluicegate.engines.errors import EngineError
from sluicegate.engines.screen.model import Screen
from studies.two_tiers.report import ALONE, SCREENED, TIERS, Run, page, run_of
from support.collector import ends, read
from support.kafka import ApacheKafka, KafkaMissingError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from support.workers import WorkerProcess

SHIPPED = ROOT / "engines" / "assets" / "screens" / "permissive"
ORDER = (ALONE, SCREENED, TIERS)
_WAIT_S = 300.0


class Tiers:
    """Runs arrangements over the same posts."""

    def __init__(
        self, kafka: ApacheKafka, folder: Path, posts: Sequence[bytes], screen: Path, tolerance: float
    ) -> None:
        self._kafka = kafka
        self._folder = folder
        self._posts = posts
        self._screen = {"screen.path": str(screen.resolve())}
        policy = folder / "policy.json"  # the centre sees the hard posts alone: no breaker on their share
        rules = {"screen": {"tolerance": tolerance}, "block_breaker": {"share": None}}
        policy.write_text(json.dumps({"name": "two-tiers", "version": "1", "rules": rules}))
        self._policy = {"policy.path": str(policy)}

    def run(self, arrangement: str, learnt: frozenset[str]) -> Run:
        """The figures of one.

        Raises:
            RuntimeError: A worker ended.
            TimeoutError: One was not ready in time.
        """
        folder = self._folder / f"{arrangement}-{uuid4().hex[:6]}"
        lane = Lane(self._kafka, f"p{uuid4().hex[:10]}", own_posts=True)
        central = Lane(self._kafka, f"{lane.posts}.central", own_posts=True, prefix=f"{lane.prefix}.central")
        with ExitStack() as stack:
            lane.open()
            stack.callback(lane.close)
            central.open()
            stack.callback(central.close)
            workers = self._start(arrangement, lane, central, folder, stack)
            fill(self._kafka.bootstrap, lane.posts, self._posts, even_place, PARTITIONS)

            def check() -> None:
                for one in workers:
                    check_worker(one)

            with Answers(lane) as answers:
                answers.wait(len(self._posts), within_s=_WAIT_S, check=check)
            return run_of(
                arrangement,
                [post_id(value) for value in self._posts],
                read(self._kafka.bootstrap, list(lane.outputs.values())),
                [{}, *lines(folder / "counts.jsonl")][-1],
                forwarded=sum(ends(self._kafka.bootstrap, central.posts).values()),
                learnt=learnt,
            )

    def _start(
        self, arrangement: str, lane: Lane, central: Lane, folder: Path, stack: ExitStack
    ) -> list[WorkerProcess]:
        """The workers, ready."""
        engineless = self._screen | {"worker.role": "screen", "topics.forward": central.posts}
        behind = {"screen.from_edge": "true", "topics.posts": central.posts, "kafka.group": central.group}
        arrangements: dict[str, list[dict[str, str]]] = {
            ALONE: [{}],
            SCREENED: [self._screen],
            TIERS: [behind, engineless],
        }
        workers = []
        for number, own in enumerate(arrangements[arrangement]):
            counts = folder / ("edge.jsonl" if "worker.role" in own else "counts.jsonl")
            more = {
                f"SLUICEGATE_{name.upper().replace('.', '__')}": value
                for name, value in (self._policy | own).items()
            }
            one = worker(
                lane, folder / f"worker-{number}", H100, counts, module="studies.two_tiers.worker", more=more
            )
            stack.callback(one.kill)
            workers.append(one)
        for one in workers:
            wait_ready(one)
        return workers


def learnt_of(posts: Sequence[bytes], labelled: Path, screen: Screen) -> frozenset[str]:
    """Ids of the posts whose texts stand in the training part of the sources that the screen names."""
    rows = read_labelled([labelled], split="train").rows
    texts = {row.text for row in rows if row.source in screen.manifest.sources}
    return frozenset(post["id"] for post in map(json.loads, posts) if post["text"] in texts)


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Run all arrangements so many times; the report's document."""
    posts = stream(distinct(read_lines(asked.data)), asked.posts)
    screen = Screen.load(asked.screen)
    learnt = None if asked.labelled is None else learnt_of(posts, asked.labelled, screen)
    runs = []
    with tempfile.TemporaryDirectory() as folder, ApacheKafka(properties=PATIENT) as kafka:
        tiers = Tiers(kafka, Path(folder), posts, asked.screen, asked.tolerance)
        for number in range(asked.rounds):
            for arrangement in ORDER if number % 2 == 0 else ORDER[::-1]:
                runs.append(asdict(tiers.run(arrangement, learnt or frozenset())))
                print(runs[-1], file=sys.stderr, flush=True)
    return {
        "data": "the samples shipped" if asked.data is None else asked.data.name,
        "tolerance": asked.tolerance,
        "screen": screen.digest,
        "engine": SAID["h100"],
        "learnt": None if learnt is None else len(learnt),
        "runs": runs,
    }


def main(arguments: Sequence[str]) -> int:
    """Measure and write the report; exit code 1 if a post was lost."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, help="posts, one JSON object a line; default: the samples")
    parser.add_argument("--labelled", type=Path, help="folder of the labelled rows behind the screen")
    parser.add_argument("--screen", type=Path, default=SHIPPED, help="folder of a screen (the shipped one)")
    parser.add_argument("--tolerance", type=float, default=0.05, help="of the policy (0.05)")
    parser.add_argument("--posts", type=int, default=2000, help="how many, with different texts (2000)")
    parser.add_argument("--rounds", type=int, default=2, help="times that all three are run (2)")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder to write")
    asked = parser.parse_args(arguments)
    try:
        document = measure(asked)
    except (DataError, KafkaMissingError, EngineError, TimeoutError, RuntimeError) as error:
        print(f"two_tiers: {error}", file=sys.stderr)
        return 2
    write(asked.out, "two-tiers", document, page(document))
    print(page(document))
    return int(any(Run(**one).lost for one in document["runs"]))
