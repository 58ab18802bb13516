"""A soak: posts at a steady rate for most of an hour, workers killed at random moments, everything accounted for.

    python benchmarks/soak --minutes 47 --kills 44 --posts 310000 --overload-minutes 10

Apache Kafka and the fake engine on this machine; Linux, for the figures on memory. Two workers
are killed in turn and started anew; a third is never touched, and its memory and file descriptors
are followed. The overload piece sends a hundred times what the engine can judge, then lets the
engine catch up, so that those posts are accounted for as well. A backlog is there before its worker
starts, and its clock begins once the worker's window is full. ``--minutes 0`` runs it alone. Ctrl-C
ends the run early, with a report that says so. Writes soak.json and soak.md; exit code 1 if the promise was not kept.
"""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults.history import History
from faults.kubelet import Kubelet
from faults.ledger import Ledger, LedgerReader
from faults.load import Load
from faults.report import versions
from faults.soak_report import as_markdown, closing_line, wishes_broken
from faults.watch import MEMORY_LIMIT_BYTES, Watched, growth
from shared.report import REPORTS, options, write
from support.kafka import ApacheKafka
from support.workers import open_lane, until

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from faults.ledger import Totals
    from faults.watch import Sample
    from support.workers import Lane

REST_AT_END_S = 5.0  # the last kill and the last post come so long before the end
SAMPLE_S, PROGRESS_S, LOOK_S = 5.0, 30.0, 2.0
PATIENCE_S = 120.0  # with nothing answered, what is missing then is lost
CALL_S = 0.05  # of the fake engine: there is always something in flight to be killed with
# Full after a few minutes, so that what grows later is no cache.
SETTINGS = {"cache.entries": "4000", "log.level": "warning"}
OVERLOAD_CALL_S, OVERLOAD_PER_S = 3.2, 1000.0  # two calls for 64 posts: about 10 posts a second
# More than a worker has room for: 4,096 in the window, 1,524 before it, and what one fetch brings.
BACKLOG_POSTS, BACKLOG_PER_S, FILLS_S = 30_000, 10_000.0, 120.0


def kill_times(rng: random.Random, kills: int, seconds: float) -> list[float]:
    """Random moments, one in each of as many equal intervals, with a little rest at the end."""
    part_s = (seconds - REST_AT_END_S) / max(kills, 1)
    return [(number + rng.random()) * part_s for number in range(kills)]


def rate_to_go(goal: int, made: int, left_s: float) -> float:
    """Posts a second that reach the goal in the time left."""
    return max(0.0, goal - made) / max(left_s, 1.0)


def soak_post(number: int, rng: random.Random) -> dict[str, Any]:
    """Mostly texts that no other post has; one in ten is one of fifty, for the cache."""
    if rng.random() < 0.1:
        return {"id": f"post-{number}", "text": f"a text that comes back, number {rng.randrange(50)}"}
    return {"id": f"post-{number}", "text": f"post number {number}: " + "word " * rng.randrange(40)}


def pace(
    seconds: float,
    watched: Watched,
    *,
    look: Callable[[], None],
    act: Callable[[float], None],
    say: Callable[[], str],
) -> str:
    """Act twice a second, look and report at intervals, for so long; why it ended early, or nothing."""
    looks_at = says_at = 0.0
    try:
        while (now := watched.now_s) < seconds:
            act(now)
            if now >= looks_at:
                looks_at = now + SAMPLE_S
                look()
                if watched.too_large:
                    return f"a process is larger than {MEMORY_LIMIT_BYTES >> 20} MiB"
            if now >= says_at:
                says_at = now + PROGRESS_S
                print(f"{now:6.0f} s  {say()}", flush=True)
            time.sleep(0.5)
    except KeyboardInterrupt:
        return "interrupted"
    return ""


def run_soak(lane: Lane, history: History, rng: random.Random, wanted: argparse.Namespace) -> dict[str, Any]:
    """The long piece."""
    lane.set_fake(call_overhead_s=CALL_S)
    seconds = wanted.minutes * 60
    steady, mortal = Kubelet(lane, 1, SETTINGS, history), Kubelet(lane, 2, SETTINGS, history)
    ledger = Ledger()
    load = Load(lane, rate_per_s=0, seed=rng.randrange(2**32), make=soak_post, keep=ledger.accept)
    with LedgerReader(lane.bootstrap, list(lane.outputs.values()), ledger) as reader:
        steady.wait_ready()
        mortal.wait_ready()
        watched = Watched(history)
        times = kill_times(rng, wanted.kills, seconds)
        kills = 0
        load.start()

        def act(now: float) -> None:
            nonlocal kills
            reader.check()
            load.rate_per_s = rate_to_go(wanted.posts, load.made, seconds - REST_AT_END_S - now)
            if kills < len(times) and now >= times[kills]:
                kills += mortal.kill_one(rng)

        def say() -> str:
            found = ledger.totals()
            history.note("progress", kills=kills, restarts=mortal.restarts, **asdict(found))
            behind, repeats = found.posts - found.answered, found.repeats_same_id + found.repeats_other_id
            return f"{found.posts} posts, {behind} to answer, {repeats} repeats, {found.wrong} wrong, {kills} kills"

        stopped = pace(
            seconds, watched, act=act, say=say, look=lambda: watched.look([*steady.workers, *mortal.workers])
        )
        load.stop()
        _settle(ledger)
        found = ledger.totals()
        (steady_life,) = [worker.folder.name for worker in steady.workers][:1] or ["none"]
        ended = [code for code in [*steady.exits, *mortal.exits] if code != -9]
        steady.stop()
        mortal.stop()
    mortal_lives = [life for name, life in watched.lives.items() if name != steady_life]
    warm_up_s = min(300.0, seconds / 5)
    return _part(found, watched.lives.get(steady_life, []), warm_up_s, stopped, ended) | {
        "posts_wanted": wanted.posts,
        "kills": kills,
        "kills_wanted": wanted.kills,
        "restarts": mortal.restarts + steady.restarts,
        "seconds": round(seconds),
        "lives": len(mortal_lives),
        "largest_life_bytes": max((one.rss_bytes for life in mortal_lives for one in life), default=0),
        "most_descriptors_of_a_life": max(
            (one.descriptors for life in mortal_lives for one in life), default=0
        ),
    }


def run_overload(lane: Lane, history: History, rng: random.Random, minutes: float) -> dict[str, Any]:
    """A backlog, a producer a hundred times as fast as the engine, one worker, then the engine at full speed."""
    lane.set_fake(concurrent_calls=1)
    lane.set_faults(slow={"delay_s": OVERLOAD_CALL_S})
    window = 4096
    ledger = Ledger()
    load = Load(lane, rate_per_s=BACKLOG_PER_S, seed=rng.randrange(2**32), keep=ledger.accept).start()
    until("the backlog stands", lambda: load.count >= BACKLOG_POSTS, within_s=FILLS_S)
    load.rate_per_s = OVERLOAD_PER_S
    kubelet = Kubelet(lane, 1, SETTINGS | {"window.posts": str(window)}, history)
    with LedgerReader(lane.bootstrap, list(lane.outputs.values()), ledger) as reader:
        kubelet.wait_ready()
        (worker,) = kubelet.workers
        until(
            "the window is full", lambda: worker.metric("sluicegate_window_posts") >= window, within_s=FILLS_S
        )
        watched, first = Watched(history), ledger.totals()
        most_held = 0.0

        def look() -> None:
            nonlocal most_held
            reader.check()
            watched.look(kubelet.workers)
            for worker in kubelet.workers:
                most_held = max(most_held, worker.metric("sluicegate_window_posts"))

        def say() -> str:
            found = ledger.totals()
            history.note("progress", held=most_held, **asdict(found))
            return f"overload: {found.posts} posts, {found.answered} answered, at most {most_held:.0f} held"

        stopped = pace(minutes * 60, watched, act=lambda _now: None, say=say, look=look)
        before = ledger.totals()
        load.stop()
        lane.set_faults()
        _settle(ledger)
        found = ledger.totals()
        ended = list(kubelet.exits)
        kubelet.stop()
    life = next(iter(watched.lives.values()), [])
    posts, answered = before.posts - first.posts, before.answered - first.answered
    return _part(found, life, min(60.0, minutes * 12), stopped, ended) | {
        "seconds": round(minutes * 60),
        "backlog_before_it": first.posts - first.answered,
        "posts_in_the_overload": posts,
        "answered_in_the_overload": answered,
        "factor": posts / max(answered, 1),
        "waiting_in_kafka_at_the_end_of_it": before.posts - before.answered - round(most_held),
        "most_held": most_held,
        "window": window,
    }


def _settle(ledger: Ledger) -> None:
    """Wait until nothing is missing, or nothing comes any more; the figures say which."""
    answered, since = -1, time.monotonic()
    while (found := ledger.totals()).lost and time.monotonic() - since < PATIENCE_S:
        if found.answered != answered:
            answered, since = found.answered, time.monotonic()
        time.sleep(LOOK_S)


def _part(
    found: Totals, life: Sequence[Sample], warm_up_s: float, stopped: str, ended: list[int]
) -> dict[str, Any]:
    grown = growth(life, warm_up_s=warm_up_s)
    return asdict(found) | {
        "stopped_early": stopped,
        "ended_by_themselves": ended,
        "warm_up_s": warm_up_s,
        "growth": grown and asdict(grown),
        "growth_percent": grown and round(grown.percent, 2),
    }


def main() -> int:
    """Run the command."""
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=47)
    parser.add_argument("--kills", type=int, default=44)
    parser.add_argument("--posts", type=int, default=310_000)
    parser.add_argument("--overload-minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--out", type=Path, default=REPORTS)
    wanted = parser.parse_args()
    if not wanted.minutes and not wanted.overload_minutes:
        parser.error("nothing to run: give --minutes or --overload-minutes")
    seed = random.SystemRandom().randrange(10_000) if wanted.seed is None else wanted.seed
    rng = random.Random(seed)  # noqa: S311 - so that a run can be repeated
    folder = Path(tempfile.mkdtemp(prefix="sluicegate-soak-"))
    history = History(folder / "history.jsonl")
    history.note("begin", **{name: str(value) for name, value in vars(wanted).items()} | {"seed": seed})
    print(f"seed {seed}, history in {history.path}", flush=True)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seed": seed,
        "versions": versions(),
    }
    with ExitStack() as stack:
        log = stack.enter_context((folder / "lanes.log").open("w"))
        kafka = stack.enter_context(ApacheKafka())
        pieces: list[tuple[str, Callable[[Lane], dict[str, Any]]]] = []
        if wanted.minutes:
            pieces.append(("soak", lambda lane: run_soak(lane, history, rng, wanted)))
        if wanted.overload_minutes:
            pieces.append(
                ("overload", lambda lane: run_overload(lane, history, rng, wanted.overload_minutes))
            )
        for name, piece in pieces:
            lane_folder = folder / name
            lane_folder.mkdir()
            lanes = ExitStack()
            lane = lanes.enter_context(open_lane(kafka, lane_folder, partitions=6))
            try:
                report[name] = piece(lane)
            finally:
                with redirect_stdout(log):  # the last lines of every worker, for who looks into a failed run
                    lanes.close()
            history.note(f"{name} over", **report[name])
    report["broken"] = wishes_broken(report)
    write(wanted.out, "soak", report, as_markdown(report))
    print(closing_line(report))
    return 1 if report["broken"] else 0
