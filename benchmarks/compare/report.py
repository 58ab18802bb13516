"""The report of a comparison, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compare.engines import PREFILL_PER_S, SAID
from compare.figures import difference, over, ratio, spread
from compare.goals import GOALS, closing_line, goal_lines, reached, seconds_asked
from compare.open_loop import limit_ms
from compare.plan import (
    AIOKAFKA_EMPTY,
    ALONE,
    FAUST_EMPTY,
    FLOOR,
    FLOOR_FOLDS,
    GENERATE,
    ONE,
    OURS,
    SKEWED,
    STAGES,
    SWEEP,
    SYSTEMS,
    THREE,
    TWO,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compare.figures import Done, Spread

Columns = tuple[tuple[str, str, float, int], ...]
"""Heading, figure, what it is multiplied by, digits."""

_ENGINE: Columns = (
    ("posts/s", "posts_per_s", 1, 1),
    ("busy share, %", "busy_share", 100, 1),
    ("ms a post, all time", "wall_s_per_post", 1000, 3),
    ("ms a post, saturated", "saturated_s_per_post", 1000, 3),
)
_ACCELERATOR: Columns = (
    ("booked, %", "work_share", 100, 1),
    ("prompts a post", "prompts_per_post", 1, 3),
    ("computed tokens a post", "computed_tokens_per_post", 1, 1),
    ("tokens cached, %", "cached_share", 100, 1),
    ("generated tokens a post", "generated_tokens_per_post", 1, 2),
)
_JUDGED: Columns = (("posts judged", "answered", 1, 0), ("not judged", "failed", 1, 0))
_CPU: Columns = (("CPU, % of a core", "cpu_share", 100, 0),)
COLUMNS: dict[str, Columns] = {
    "h100": (*_JUDGED, *_ENGINE, *_ACCELERATOR, *_CPU),
    "worker": (("posts/s", "posts_per_s", 1, 0), ("CPU µs a post", "cpu_s_per_post", 1e6, 0), *_CPU),
    "scale": (("posts/s", "posts_per_s", 1, 1), ("busy share, %", "busy_share", 100, 1), *_CPU),
    "latency": (
        ("posts/s offered", "offered_per_s", 1, 1),
        ("p50, ms", "p50_ms", 1, 0),
        ("p95, ms", "p95_ms", 1, 0),
        ("p99, ms", "p99_ms", 1, 0),
        ("a micro-batch in the engine, ms", "micro_batch_ms", 1, 1),
        ("sent late, p99, ms", "late_p99_ms", 1, 1),
    ),
    "cpu": (*_JUDGED, *_ENGINE, ("engine's CPU, % of a core", "engine_cpu_share", 100, 0), *_CPU),
}
HEADS = {
    "h100": "At saturation, H100 imitated",
    "worker": "CPU time of a worker",
    "scale": "One, two and three workers",
    "latency": "Latency at 70 % load",
    "cpu": "At saturation, CPU model",
}
NAMES = SYSTEMS | {
    FLOOR: "a frozen bare aiokafka → confluent-kafka loop that decodes, validates, tokenises, hashes, and makes and encodes a verdict",
    FLOOR_FOLDS: "the same, which also looks for folded forms and tokenises them, as the worker does",
    FAUST_EMPTY: "an empty Faust agent that acknowledges",
    AIOKAFKA_EMPTY: "an empty aiokafka loop",
    ONE: "one worker",
    TWO: "two workers",
    THREE: "three workers",
    SKEWED: "three workers, two posts in five with one hot key",
}
DEFINITIONS = (
    (
        "All systems work off a backlog that stands on the topic (six partitions) before they begin, except for scaling, where it is put there "
        "at once when all workers have their partitions. Figures are of the steady part: between 10 % and 90 % of the posts, by the "
        "timestamps of the verdicts' records."
    ),
    (
        "**Busy share**: time in which the engine had at least its saturating number of prompts in work ÷ wall time. The fake engine counts "
        "that itself; llama.cpp does not, so there it is counted beside the calls, by the worker's own meter."
    ),
    (
        "**Engine alone**: the same prompts (each once, as the exact cache leaves them; folded forms with them; explanations where the policy "
        "asks) from memory, in a closed loop at the concurrency that was fastest of those tried."
    ),
    (
        "**Engine seconds per post**: wall time of the saturated engine ÷ posts answered. *All time* counts every second of the steady part, *saturated* "
        "only those in which the engine was saturated; they are one where it always was. E1 is ours by all time, E2 generate-always by the "
        "saturated time: where they differ, that is against us."
    ),
    (
        "**Generate-always** has the vendor's prompt (201 tokens before the post, 96 after it; other text of that length stands for it), prefix cache on, and "
        "writes the shortest answer that the model gives, 8 tokens, for each post; no cache of assessments. It is fed as well as can be: calls of 64 posts, four "
        "at once; on the CPU model single prompts, eight at once."
    ),
    (
        "**CPU seconds** are user and system time of the process, all threads, by `/proc`; with an engine that takes no time. C is the worker's by that of the bare "
        "loop, F by that of the loop that folds. Both loops are frozen: they do not get faster with the pipeline. The time of Faust's stream is what an empty agent takes an event beyond an empty aiokafka loop; the worker takes its records "
        "past that stream (`docs/adr/0003`, `docs/adr/0007`), so that only what is left of Faust is inside C."
    ),
)


def page(document: Mapping[str, Any], stages: Mapping[str, Done], plots: Mapping[str, str]) -> str:
    """The report as Markdown.

    Args:
        document: Machine, versions, data and how the run went.
        stages: All figures.
        plots: Files beside the page, and what they show.
    """
    parts = [
        "# Comparison",
        *_head(document),
        *(
            ["**A small run, to see that everything works: its figures say nothing.**"]
            if document["small"]
            else []
        ),
        f"`{closing_line(stages)}`",
        "\n".join(f"- {line}" for line in goal_lines(stages)),
        "Medians of the repeats, with their range; a repeat alternates all systems in one run, and ratios are formed within it.",
        "\n\n".join(DEFINITIONS),
    ]
    for stage, systems in STAGES.items():
        if stage in stages:
            parts += [
                f"## {HEADS[stage]}",
                f"Engine: {SAID[stage]}.",
                _table(stages[stage], systems, COLUMNS[stage]),
            ]
            parts += _remarks(stage, stages)
    parts += [f"![{said}]({name})" for name, said in plots.items()]
    parts += _missing(document)
    return "\n\n".join(parts) + "\n"


def memory_page(document: Mapping[str, Any], found: str) -> str:
    """The report on memory as Markdown."""
    return "\n\n".join(["# Memory of a worker", *_head(document), found]) + "\n"


def _head(document: Mapping[str, Any]) -> list[str]:
    return [
        f"Made by `{document['command']}`, {document['date']}, commit {', '.join(document['commits']) or 'unknown'}.",
        f"{_named(document['machine'])}. {_named(document['versions'])}.",
        f"{document['data']['posts']:,} posts of {document['data']['name']} ({document['data']['digest']}).",
    ]


def _table(done: Done, systems: Sequence[str], columns: Columns) -> str:
    known = [column for column in columns if any(over(done, one, column[1]) for one in systems)]
    rows = [
        "| | repeats | " + " | ".join(heading for heading, *_ in known) + " |",
        "|---|---:|" + "---:|" * len(known),
    ]
    for system in systems:
        if system in done:
            cells = [_shown(over(done, system, figure), scale, digits) for _, figure, scale, digits in known]
            rows.append(f"| {NAMES[system]} | {len(done[system])} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _shown(found: Spread | None, scale: float = 1, digits: int = 2) -> str:
    if found is None:
        return "–"
    middle, low, high = (f"{one * scale:,.{digits}f}" for one in (found.median, found.low, found.high))
    return middle if low == high else f"{middle} [{low}, {high}]"


def _remarks(stage: str, stages: Mapping[str, Done]) -> list[str]:
    done = stages[stage]
    if stage in ("h100", "cpu"):
        ours, always = seconds_asked(stages, stage)
        asked = ratio(done, OURS, GENERATE, "wall_s_per_post", figure_below="saturated_s_per_post")
        tried = _tried(done)
        return [
            (
                f"End to end over the engine alone: {_shown(ratio(done, OURS, ALONE, 'posts_per_s'), digits=3)}. Engine seconds per post: "
                f"ours {_shown(ours, digits=5)}, generate-always {_shown(always, digits=5)}, ratio {_shown(asked, digits=3)}.{_uncached(done, always)}{tried}"
            )
        ]
    if stage == "worker":
        return [_of_cpu(done)]
    if stage == "scale":
        two, skewed = (ratio(done, one, ONE, "posts_per_s") for one in (TWO, SKEWED))
        return [
            (
                f"Posts a second over one worker's: two workers {_shown(two)}, three {_shown(reached(stages)['scale'])}, three with a hot key "
                f"{_shown(skewed)}. One of six partitions then has half of the posts, and a partition has one worker. The share of a core is of all "
                "workers together: where it stays far below one core, CPU is not the limit."
            )
        ]
    return [_of_latency(done)]


def _of_cpu(done: Done) -> str:
    faust = difference(done, FAUST_EMPTY, AIOKAFKA_EMPTY, "cpu_s_per_post")
    whole, folds = (ratio(done, OURS, one, "cpu_s_per_post") for one in (FLOOR, FLOOR_FOLDS))
    return (
        f"CPU ratio C: {_shown(whole)}; F, over the loop that folds, too: {_shown(folds)}. Faust's own stream: "
        f"{_shown(faust, 1e6, 0)} µs an event."
    )


def _of_latency(done: Done) -> str:
    over_limit = [
        one["p99_ms"] / limit_ms(one["micro_batch_ms"])
        for one in done.get(OURS, {}).values()
        if "micro_batch_ms" in one
    ]
    limits = [
        limit_ms(one["micro_batch_ms"]) for one in done.get(OURS, {}).values() if "micro_batch_ms" in one
    ]
    found = spread(over_limit)
    verdict = "" if found is None else "kept" if found.median <= 1 else "missed"
    return (
        f"An open loop (`sluicegate bench`) at 70 % of the posts a second that the first repeat reached at saturation. Goal: p99 of at most two "
        f"micro-batches and 20 ms, here {_shown(spread(limits), digits=0)} ms; p99 over that: {_shown(found)}, {verdict or 'not measured'}. A micro-batch's time is "
        "the mean of the run itself, from the call of the engine to its answer, explanations and waiting for other calls with it."
    )


def _uncached(done: Done, always: Spread | None) -> str:
    """What generate-always would cost without a prefix cache: arithmetic on the imitated rate."""
    cached = over(done, GENERATE, "cached_tokens_per_post")
    if cached is None or always is None:
        return ""
    seconds = always.median + cached.median / PREFILL_PER_S
    return f" Without a prefix cache generate-always would take {seconds:.5f} (not run: the cached tokens at the rate of the others)."


def _tried(done: Done) -> str:
    found = done.get(SWEEP, {}).get(1, {})
    tried = [
        f"{name.rpartition('_')[2]}: {per_s:,.1f}"
        for name, per_s in found.items()
        if name.startswith("posts_per_s_at_")
    ]
    return f" Posts/s of the engine alone by calls at once: {', '.join(tried)}." if tried else ""


def _missing(document: Mapping[str, Any]) -> list[str]:
    lines = [f"- {key}: {why.partition(chr(10))[0]}" for key, why in document["failed"].items()]
    if document["left_out"]:
        lines.append(f"- no time was left for {', '.join(document['left_out'])}")
    return ["## Not measured", "\n".join(lines)] if lines else []


def _named(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parts.items())


def as_json(document: Mapping[str, Any], stages: Mapping[str, Done]) -> dict[str, Any]:
    """The report as data: everything that the page is made of."""
    goals = {
        name: {
            "figure": goal.letter,
            "meaning": goal.meaning,
            "limit": goal.limit,
            "median": found.median if found else None,
            "range": [found.low, found.high] if found else None,
            "kept": goal.kept(found.median) if found else None,
        }
        for (name, goal), found in zip(GOALS.items(), reached(stages).values(), strict=True)
    }
    return {**document, "closing": closing_line(stages), "goals": goals, "engines": SAID, "stages": stages}
