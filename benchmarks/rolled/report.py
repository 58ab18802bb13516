"""From what was measured to what is simulated, and both as a page."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from rolled.simulate import LEAVES, STATIC, SURGE, World, figures
from shared.report import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMAND = "PYTHONPATH=benchmarks:tests python -m rolled"
PARTITIONS = (72, 48)
LOADING_S, LONG_SESSION_S = 180.0, 300.0
"""An engine that loads, and a session timeout that outlasts it."""
MEASURED_WORKERS, MEASURED_PARTITIONS = 3, 12
WAYS = (LEAVES, STATIC, SURGE)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _unowned_s(runs: Sequence[Mapping[str, Any]], moves: int) -> float:
    """For how long one partition had no owner each time that it changed hands."""
    changed = MEASURED_PARTITIONS * moves  # each worker has its share once, and each is replaced
    return _mean([one["unowned_partition_s"] for one in runs]) / changed


def world_of(runs: Sequence[Mapping[str, Any]]) -> World:
    """What the measured runs of this release say of one worker.

    Args:
        runs: As :meth:`rolled.measure.Rolled.document` gives them.
    """
    by_way = {way: [one for one in runs if one["way"] == way and one["rolled"]] for way in WAYS}
    replaced = [each for found in by_way.values() for one in found for each in one["replaced"]]
    start_s = _mean([each["start_s"] for each in replaced])
    static_s = _mean([each["start_s"] for one in by_way[STATIC] for each in one["replaced"]])
    return World(
        drain_s=round(_mean([each["leave_s"] for each in replaced]), 2),
        move_s=round(_unowned_s(by_way[LEAVES], 2), 2),  # a share leaves, and a share comes back
        return_s=round(max(0.0, _unowned_s(by_way[STATIC], 1) - static_s), 2),
        start_s=round(start_s, 1),
    )


def simulated(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every way, with the measured start of a worker and with an engine that loads for minutes."""
    known, rows = world_of(runs), []
    for partitions, start_s, way in product(PARTITIONS, (known.start_s, LOADING_S), WAYS):
        further = [
            one["repeats_share"] * one["figures"]["answered"] / MEASURED_WORKERS
            for one in runs
            if one["way"] == way and one["rolled"]
        ]
        for session_s in (20.0, LONG_SESSION_S) if way == STATIC and start_s == LOADING_S else (20.0,):
            asked = replace(
                known,
                partitions=partitions,
                start_s=start_s,
                session_s=session_s,
                repeats_per_worker=_mean(further),
            )
            rows.append(figures(way, asked))
    return {"world": asdict(known), "rows": rows}


def summaries(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each way in the mean over its runs, beside the same load on workers that nobody replaced."""
    found = []
    for way in dict.fromkeys(one["way"] for one in runs):
        rolled = [one for one in runs if one["way"] == way and one["rolled"]]
        if not rolled:
            continue
        # A static member, or one that comes first, is the same release left alone.
        release = way if any(one["way"] == way and not one["rolled"] for one in runs) else LEAVES
        alone = [one["figures"]["p99_ms"] for one in runs if one["way"] == release and not one["rolled"]]
        p99s = [one["figures"]["p99_ms"] for one in rolled]
        replaced = [each for one in rolled for each in one["replaced"]]
        found.append(
            {
                "way": way,
                "runs": len(rolled),
                "alone_p99_ms": round(_mean(alone)) if alone else None,
                "p99_ms": round(_mean(p99s)),
                "added_ms": round(_mean(p99s) - _mean(alone)) if alone else None,
                "most_ms": round(max(one["figures"]["max_ms"] for one in rolled)),
                "repeats_share": _mean([one["repeats_share"] for one in rolled]),
                "lost": sum(one["figures"]["drops"] for one in rolled),
                "unowned_partition_s": round(_mean([one["unowned_partition_s"] for one in rolled]), 1),
                "leave_s": round(_mean([each["leave_s"] for each in replaced]), 2),
                "start_s": round(_mean([each["start_s"] for each in replaced]), 1),
            }
        )
    return found


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:,.2f}"


def measured_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """What was measured, one row a way."""
    head = ("way", "p99 left alone, s", "p99 rolled, s", "added, s", "slowest, s", "repeats", "unowned, s")
    return table(
        head,
        [
            (
                one["way"],
                _seconds(one["alone_p99_ms"]),
                _seconds(one["p99_ms"]),
                _seconds(one["added_ms"]),
                _seconds(one["most_ms"]),
                f"{one['repeats_share']:.2%}",
                f"{one['unowned_partition_s']:.0f}",
            )
            for one in summaries(runs)
        ],
    )


def simulated_table(rows: Sequence[Mapping[str, Any]], partitions: int) -> str:
    """What was simulated with so many partitions, one row a way and a start."""
    head = (
        "way",
        "start, s",
        "session timeout, s",
        "rollout, min",
        "unowned, s",
        "longest, s",
        "p99 added, s",
    )
    return table(
        head,
        [
            (
                one["way"],
                f"{one['start_s']:g}",
                f"{one['session_s']:g}",
                f"{one['took_s'] / 60:.0f}",
                f"{one['unowned_partition_s']:,.0f}",
                f"{one['longest_s']:.1f}",
                f"{one['p99_added_s']:.1f}",
            )
            for one in rows
            if one["partitions"] == partitions
        ],
    )


def page(document: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    runs, rows, world = document["runs"], document["simulated"]["rows"], document["simulated"]["world"]
    machine = document["machine"]
    before = (
        f" The last row is an earlier release ({document['before']}), whose rebalances stopped every worker."
        if document["before"]
        else ""
    )
    late = _seconds(max(one["figures"]["late_p99_ms"] for one in runs))
    most_runs = max(one["runs"] for one in summaries(runs))
    runs_told = "was one run" if most_runs == 1 else f"were up to {most_runs} runs"
    lost = sum(one["lost"] for one in summaries(runs))
    repeats = " and ".join(f"{one['repeats']:g} ({one['way']})" for one in rows if one["repeats"]) or "none"
    return f"""# Workers replaced one by one

Made by `{document["command"]}` at {document["commit"]}, on {machine["processor"]}, {machine["cores"]} cores that others used
too, Apache Kafka {document["kafka"]}.

## Measured: three workers

{document["workers"]} workers share {document["partitions"]} partitions. The engine is the fake one, made so slow that it is the limit: all three judge
{document["capacity_per_s"]:g} posts a second. `sluicegate bench` sends {document["rate_per_s"]:g}, which is 70 %, with texts that are all different. Each worker gets
SIGTERM and is replaced, one after the other. A worker starts in {world["start_s"]:g} s here; one that loads an engine takes
minutes.{before}

{measured_table(runs)}

- *One leaves first*: the chart's rollout with a GPU. *One comes first*: its rollout without. *Static member*: each worker has a
  `kafka.instance_id` that its successor takes over, so the group does not hear of the exchange.
- *Unowned* adds up, over all partitions, the seconds in which no worker said that it had them.
- The cores were busy with other work. The bench itself sent at most {late} s late (p99 of a run); that is in every latency.
- There {runs_told} of each way. Differences of a second or less say nothing here.
- Repeats are further verdicts of a post that had one. Posts without any verdict: {lost:g}.
- While one of three workers is away, the other two get 105 % of what they can judge. A part of what is added is that, in every way but the third.

## Simulated: 24 workers

On virtual time, at 70 % load, from the measured times: a worker drains for {world["drain_s"]:g} s, a partition changes hands in {world["move_s"]:g} s, a static member
reads {world["return_s"]:g} s after it is ready. A start of {world["start_s"]:g} s is the measured one. {LOADING_S:g} s is an engine that loads; that is assumed. Repeats of a
whole rollout: {repeats}.

{PARTITIONS[0]} partitions, three a worker:

{simulated_table(rows, PARTITIONS[0])}

{PARTITIONS[1]} partitions, two a worker. One that gets a third has 105 % of what it can judge, until the next worker has come:

{simulated_table(rows, PARTITIONS[1])}

A post's latency here is its waiting alone. p99 is over all posts of the rollout: a long one has many quiet minutes, so see *longest* too,
the longest time that one partition was not read.
"""
