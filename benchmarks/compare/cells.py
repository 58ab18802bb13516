"""Runs one cell and gives its figures."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from compare.cluster import PARTITIONS, Answers, Judged, Lane, fill
from compare.contenders.plainly import Task
from compare.data import distinct, even_place, skewed_place, stratified, stream
from compare.engines import CPU_MODEL, FIFTH, H100, INSTANT
from compare.figures import rise, steady_of
from compare.open_loop import at_load
from compare.plan import (
    AIOKAFKA_EMPTY,
    ALONE,
    BARE,
    FAUST,
    FAUST_EMPTY,
    GENERATE,
    OURS,
    SKEWED,
    SWEEP,
    WORKERS,
    Cell,
)
from compare.process import START_S, Contender, check_worker, wait_ready, worker
from compare.watch import Watch, busy_share, figures, lines, of_span
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from compare.plan import Sizes
    from compare.run import Kept
    from support.kafka import ApacheKafka
    from support.workers import WorkerProcess

LOAD = 0.7
_ENGINES = {"h100": H100, "worker": INSTANT, "scale": FIFTH, "latency": H100, "cpu": CPU_MODEL}


class Cells:
    """Measures cells on one cluster.

    Args:
        kafka: Where everything runs.
        folder: For settings and logs.
        posts: What is judged.
        sizes: How much is sent.
        kept: What earlier cells found.
    """

    def __init__(
        self, kafka: ApacheKafka, folder: Path, posts: Sequence[bytes], sizes: Sizes, kept: Kept
    ) -> None:
        self._kafka = kafka
        self._folder = folder
        self._sizes = sizes
        self._kept = kept
        self._makers: dict[str, Callable[[], list[bytes]]] = {
            "h100": lambda: stream(posts, sizes.stream),
            "worker": lambda: stream(posts, sizes.worker),
            "scale": lambda: stream(distinct(posts), sizes.scale * max(WORKERS.values())),
            "cpu": lambda: stratified(posts, sizes.cpu),
        }
        self._values: dict[str, list[bytes]] = {}
        self._topics: dict[str, str] = {}

    def run(self, cell: Cell) -> dict[str, float]:
        """The figures of one cell.

        Raises:
            RuntimeError: A process ended, or nothing was answered.
            AssertionError: A worker did not come up.
        """
        folder = self._folder / f"{cell.stage}-{cell.system}-{cell.repeat}-{uuid4().hex[:6]}"
        folder.mkdir(parents=True)
        if cell.system == SWEEP:
            return self._sweep(cell, folder)
        if cell.system == ALONE:
            return self._alone(cell, folder)
        if cell.system in (FAUST_EMPTY, AIOKAFKA_EMPTY):
            return self._empty(cell, folder)
        if cell.stage == "scale":
            return self._scaled(cell, folder)
        if cell.stage == "latency":
            return self._latency(folder)
        return self._through(cell, folder)

    def _through(self, cell: Cell, folder: Path) -> dict[str, float]:
        """A backlog on the topic, answered by one process."""
        engine, goal = _ENGINES[cell.stage], self._goal(cell)
        counts = folder / "counts.jsonl"
        with self._lane(self._topic(cell.stage)) as lane, Answers(lane) as answers, ExitStack() as stack:
            if cell.system == OURS:
                ours = worker(lane, folder / "worker", engine, counts)
                stack.callback(ours.kill)
                watch = Watch([ours.pid], partial(_metrics, ours) if engine.backend != "fake" else None)
                check: Callable[[], None] = partial(check_worker, ours)
            else:
                contender = Contender(self._task(cell, lane, counts, folder), folder / "contender")
                stack.callback(contender.kill)
                watch, check = Watch([contender.pid]), contender.check
            watch.start()
            stack.callback(watch.stop)
            answers.wait(1, within_s=START_S, check=check)
            answers.wait(goal, within_s=self._sizes.call_s, check=check)
            watch.stop()
            # On the CPU model it is asked in the vendor's layout, which its adapter never saw: only the time counts.
            judged = answers.judged(unread=cell.system == GENERATE)
        if cell.system == OURS:
            require_sound(judged)
        found = figures(judged.times[:goal], watch, lines(counts) or watch.counts)
        return found | {"failed": judged.failed, "repeats": judged.repeats}

    def _alone(self, cell: Cell, folder: Path) -> dict[str, float]:
        found = self._kept.stages.get(cell.stage, {}).get(SWEEP, {}).get(1)
        if found is None:
            raise RuntimeError("the best concurrency is not known; run the cell `sweep` first")
        counts = folder / "counts.jsonl"
        task = self._task(cell, None, counts, folder, in_flight=round(found["best"]))
        contender = Contender(task, folder / "contender")
        watch = Watch([contender.pid])
        watch.start()
        try:
            contender.wait(START_S + self._sizes.call_s)
        finally:
            contender.kill()
            watch.stop()
        progress = [(one["at_s"], one["posts"]) for one in lines(counts.with_name("counts.jsonl.posts"))]
        answered = progress[-1][1] if progress else 0
        return of_span(steady_of(progress), watch, lines(counts)) | {
            "in_flight": found["best"],
            "answered": answered,
        }

    def _sweep(self, cell: Cell, folder: Path) -> dict[str, float]:
        """The fastest of what could be tried in the time."""
        counts = folder / "counts.jsonl"
        share = 0.15 if cell.stage == "h100" else 0.3
        contender = Contender(self._task(cell, None, counts, folder, share=share), folder / "contender")
        try:
            contender.wait(START_S + self._sizes.call_s)
        except TimeoutError:
            if not lines(counts.with_name("counts.jsonl.sweep")):
                raise
        finally:
            contender.kill()
        tried = {one["in_flight"]: one["per_s"] for one in lines(counts.with_name("counts.jsonl.sweep"))}
        best = max(tried, key=lambda one: tried[one])
        return {"best": best} | {f"posts_per_s_at_{one:g}": per_s for one, per_s in tried.items()}

    def _empty(self, cell: Cell, folder: Path) -> dict[str, float]:
        """A loop that reads and does nothing; it tells its own CPU time."""
        counts, goal = folder / "counts.jsonl", self._sizes.worker
        with self._lane(self._topic(cell.stage)) as lane:
            contender = Contender(self._task(cell, lane, counts, folder), folder / "contender")
            deadline = time.monotonic() + self._sizes.call_s
            try:
                while time.monotonic() < deadline:
                    contender.check()
                    told = lines(counts)
                    if told and told[-1]["posts"] >= 0.95 * goal:
                        break
                    time.sleep(0.1)
            finally:
                contender.kill()
        told = lines(counts)
        span = steady_of([(one["at_s"], one["posts"]) for one in told])
        cpu = rise([(one["at_s"], one["cpu_s"]) for one in told], span) if span else None
        if span is None or cpu is None:
            raise RuntimeError(f"{cell.system} read too little to tell")
        return {"posts_per_s": span.per_s, "cpu_s_per_post": cpu / span.posts}

    def _scaled(self, cell: Cell, folder: Path) -> dict[str, float]:
        """Workers first, posts then: all of them have their partitions when the first post comes."""
        count, place = WORKERS[cell.system], skewed_place if cell.system == SKEWED else even_place
        goal = self._sizes.scale * count
        with self._lane() as lane, Answers(lane) as answers, ExitStack() as stack:
            workers = []
            for number in range(count):
                one = worker(lane, folder / f"worker-{number}", FIFTH, folder / f"counts-{number}.jsonl")
                stack.callback(one.kill)
                workers.append(one)
            for one in workers:
                wait_ready(one)
            until("all partitions are shared out", lambda: _shared_out(workers), within_s=START_S)
            watch = Watch([one.pid for one in workers])
            watch.start()
            stack.callback(watch.stop)
            fill(self._kafka.bootstrap, lane.posts, self._of("scale")[:goal], place, PARTITIONS)

            def check() -> None:
                for one in workers:
                    check_worker(one)

            answers.wait(goal, within_s=self._sizes.call_s, check=check)
            watch.stop()
            judged = answers.judged()
        require_sound(judged)
        counts = [lines(folder / f"counts-{number}.jsonl") for number in range(count)]
        shared = busy_share(counts, judged.times)
        return figures(judged.times, watch, []) | ({} if shared is None else {"busy_share": shared})

    def _latency(self, folder: Path) -> dict[str, float]:
        first = self._kept.stages.get("h100", {}).get(OURS, {}).get(1)
        if first is None:
            raise RuntimeError("the rate at saturation is not known; run the stage h100 first")
        posts = folder / "posts.jsonl"
        posts.write_bytes(b"\n".join(self._of("h100")) + b"\n")
        with self._lane() as lane:
            return at_load(
                lane, folder, H100, posts, rate=LOAD * first["posts_per_s"], seconds=self._sizes.latency_s
            )

    def _goal(self, cell: Cell) -> int:
        if cell.stage == "h100":
            sizes = {FAUST: self._sizes.take, BARE: self._sizes.bare}
            return min(sizes.get(cell.system, self._sizes.stream), self._sizes.stream)
        return len(self._of(cell.stage))

    def _task(
        self,
        cell: Cell,
        lane: Lane | None,
        counts: Path,
        folder: Path,
        *,
        in_flight: int = 0,
        share: float = 1.0,
    ) -> Task:
        engine = _ENGINES[cell.stage]
        profile, values = folder / "profile.json", folder / "values.jsonl"
        profile.write_text(json.dumps(engine.profile | {"counts_file": str(counts)}), encoding="utf-8")
        if lane is None:
            all_of_it = self._of(cell.stage)
            chosen = all_of_it[: max(10, round(share * len(all_of_it)))]
            values.write_bytes(b"\n".join(chosen) + b"\n")
        return Task(
            bootstrap=self._kafka.bootstrap,
            group=lane.group if lane else "",
            posts=lane.posts if lane else "",
            verdicts=lane.outputs["allow"] if lane else "",
            system=cell.system,
            backend=engine.backend,
            profile=str(profile),
            counts=str(counts),
            values=str(values),
            in_flight=in_flight,
        )

    def _of(self, stage: str) -> list[bytes]:
        if stage not in self._values:
            self._values[stage] = self._makers[stage]()
        return self._values[stage]

    def _topic(self, stage: str) -> str:
        """The stage's posts on a topic, put there the first time."""
        if stage not in self._topics:
            topic = f"posts-{stage}"
            self._kafka.create_topic(topic, PARTITIONS)
            fill(self._kafka.bootstrap, topic, self._of(stage), even_place, PARTITIONS)
            self._topics[stage] = topic
        return self._topics[stage]

    @contextmanager
    def _lane(self, posts: str | None = None) -> Iterator[Lane]:
        own = posts is None
        lane = Lane(self._kafka, posts or f"p{uuid4().hex[:10]}", own_posts=own)
        lane.open()
        try:
            yield lane
        finally:
            lane.close()


def require_sound(judged: Judged) -> None:
    """Assert that what is measured is judging.

    Raises:
        RuntimeError: Posts were answered without a judgement, or twice.
    """
    if judged.failed or judged.repeats:
        raise RuntimeError(f"{judged.failed} posts were not judged, {judged.repeats} were answered twice")


def _metrics(one: WorkerProcess) -> str:
    return one.get("/metrics")[1]


def _shared_out(workers: Sequence[WorkerProcess]) -> bool:
    """True once every worker has as many partitions as the others."""
    found = {one.metric("sluicegate_partitions_assigned") for one in workers}
    return found == {PARTITIONS / len(workers)}
