"""What a small guard before a large one saves, **simulated**, and what harm one does, measured on the CPU model.

    python benchmarks/cascade --data posts.jsonl [--labelled FOLDER --rows 1500] [--out benchmarks/reports]

Saved are engine seconds of a simulated H100, by the share of posts that the small guard answers. The harm at that share is
measured on labelled rows: a folder of them, or the small sample that ships with the repository. The CPU model with the
shipped adapter is the small guard there. What it said is kept in --work: a run that was stopped goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import baselines
from cascade import harm
from cascade.reading import Reader
from cascade.study import BARS, Cost, always, cost, table
from shared.judging import Store
from shared.report import SAMPLE, options, write
from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.cpu_model.models import SMALL
from sluicegate.schemas import Post, decode_post

if TYPE_CHECKING:
    from collections.abc import Sequence

GOAL = 0.20
"""Engine seconds over those of generate-always, with a small guard in front."""


def operating_point(costs: Sequence[Cost], always_s: float) -> Cost:
    """The strictest bar that keeps the goal; the loosest of all where none does."""
    kept = [one for one in costs if one.bar is not None and one.both_s <= GOAL * always_s]
    return min(kept or costs[1:], key=lambda one: one.answered if kept else -one.answered)


def mix_of(lines: Sequence[bytes]) -> dict[str, float]:
    """Share of each severity in a labelled stream; empty where it has no labels."""
    counts = Counter(
        one["label"]["severity"] for one in map(json.loads, lines) if isinstance(one.get("label"), dict)
    )
    return {name: count / counts.total() for name, count in counts.most_common()}


def over_always(share: float, costs: Sequence[Cost], always_s: float) -> float:
    """About what a cascade costs over generate-always where the small guard answers this share."""
    alone, some = costs[0], costs[1]
    return (some.small_s + alone.large_s * (1 - share)) / always_s


async def saved(posts: Sequence[Post]) -> tuple[list[Cost], float]:
    """The simulation: costs by bar, and those of generate-always."""
    return [await cost(posts, bar) for bar in BARS], await always(posts)


async def harmed(
    labelled: Path, rows: int, work: Path, mix: dict[str, float], share: float
) -> dict[str, Any]:
    """The measurement on labelled rows."""
    every = (await asyncio.to_thread(read_labelled, [labelled], split="dev")).rows
    learnt = set(baselines.load_baseline().facts.get("sources", ()))
    backend = open_backend(EngineChoice(backend="llama_cpp", bundle=SMALL.bundle_path()))
    async with backend.engine:
        reader = Reader(backend, Store(work, backend.engine.info))
        taken = await reader.read(every, min(rows, len(every)))
    unseen = {row.source for row in taken} - learnt
    found = await harm.measure(harm.Study(reader, taken, unseen), mix, share)
    return {"engine": backend.engine.info.digest, "labelled": len(every), **found}


def page(document: dict[str, Any], costs: Sequence[Cost]) -> str:
    """The report for people."""
    always_s, point = document["always_s"], document["point"]
    kept = next(one for one in document["harm"]["within"] if one["tolerance"] == harm.SMALL_HARM)
    told = [
        "# A small guard before a large one",
        f"Made by `python benchmarks/cascade --data posts.jsonl --labelled labelled --rows {document['harm']['rows']}`.",
        "## The engine seconds, simulated",
        (
            f"{document['posts']:,} posts of a stream. Both guards are fake engines: an 8B guard on an H100, and a 0.6B guard on the same "
            "card. No GPU ran. They find the same, by lot: this says nothing of harm."
        ),
        table(costs, always_s),
        (
            f"The strictest of these bars that keeps {GOAL:g} answers {100 * point['answered']:.0f} % of the posts: "
            f"**{point['over_always']:.3f}** of the engine seconds of generate-always. What that costs in harm stands below."
        ),
        *harm.page(document["harm"]),
        (
            f"With a tolerance of {harm.SMALL_HARM:g}, {100 * kept['share_at_mix']:.1f} % of the stream's posts would be answered, and the engine "
            f"seconds would be about {over_always(kept['share_at_mix'], costs, always_s):.3f} of generate-always; "
            f"without a small guard they are {costs[0].both_s / always_s:.3f}."
        ),
    ]
    return "\n\n".join(told) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, measure, and write the report."""
    parser = options(__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="a stream of labelled posts, one JSON object a line"
    )
    parser.add_argument("--posts", type=int, default=10_000, help="at most so many of --data")
    parser.add_argument(
        "--labelled", type=Path, default=SAMPLE, help="labelled file, or a folder; dev rows are read"
    )
    parser.add_argument("--rows", type=int, default=1500, help="at most so many of --labelled, stratified")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/cascade"), help="folder of what the model said"
    )
    parser.add_argument("--out", type=Path, default=Path("build/cascade"), help="folder for the report")
    asked = parser.parse_args(arguments)
    lines = asked.data.read_bytes().splitlines()[: asked.posts]
    posts = [post for post in map(decode_post, lines) if isinstance(post, Post)]
    mix = mix_of(lines)
    if not mix:
        parser.error(
            "--data has no labels: harm depends on how many posts are harmful; give a labelled stream"
        )
    costs, always_s = asyncio.run(saved(posts))
    point = operating_point(costs, always_s)
    document = {
        "posts": len(posts),
        "always_s": always_s,
        "costs": [asdict(one) for one in costs],
        "point": {**asdict(point), "over_always": point.both_s / always_s},
        "harm": asyncio.run(harmed(asked.labelled, asked.rows, asked.work, mix, point.answered)),
    }
    told = page(document, costs)
    write(asked.out, "cascade", document, told)
    print(told)
    return 0
