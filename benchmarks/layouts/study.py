"""What is asked of the engine for one post: two layouts, three ways, the engine's own counts, and what is found.

    python benchmarks/layouts [--data posts-10k.jsonl] [--limit 40] [--rounds 3] [--out benchmarks/reports]

The stream is JSON lines: `id`, `text`, `language`, `region`, `label.severity`; without it rows of benchmarks/samples
are taken. The CPU model answers on one slot, one request at a time.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layouts.engine import serving
from layouts.report import ALWAYS, ON_DEMAND, OURS, SCORE, VENDOR, mean, page, share
from layouts.texts import post_of, sampled, vendor_layout
from shared.judging import certain
from shared.machine import installed
from shared.report import options, write
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.cpu_model.models import cpu_bundle_path
from sluicegate.engines.errors import EngineError
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Post, Scores

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from layouts.engine import Asked
    from layouts.report import Pass, Request
    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.layouts import Layout

SHIPPED_ROWS = 2_384 + 6_500 + 8_000
"""That trained the shipped adapter, by the recipes in benchmarks/shipped_adapter."""
_TRAINED_TOKENS = 128  # their max_tokens


async def one_round(
    engine: Asked, asked: Sequence[tuple[Post, Prompt]], layout: str, policy: Policy, *, warm: Prompt
) -> tuple[list[Pass], list[Scores], int, float]:
    """Every way once: the passes, the scores, how many were explained, and tokens if nothing explained was cached.

    Args:
        engine: Asked one request at a time.
        asked: Posts with their prompts.
        layout: Of these prompts.
        policy: Says what is to be explained.
        warm: A prompt of the layout about another text, which puts the shared prefix into the cache and does not count.
    """
    await engine.score(warm)
    scored: list[tuple[Scores, Request]] = []
    explained: list[Request] = []
    again = 0
    for post, prompt in asked:
        scores, cost = await engine.score(prompt)
        scored.append((scores, cost))
        if policy.needs_explanation(post, scores):
            explained.append(await engine.explain(prompt, scores.severity))
            again += cost.computed
    await engine.score(warm)
    generated = [await engine.generate(prompt) for _, prompt in asked]
    scoring = [cost for _, cost in scored]
    passes = [
        mean(layout, way, len(asked), requests)
        for way, requests in ((SCORE, scoring), (ON_DEMAND, [*scoring, *explained]), (ALWAYS, generated))
    ]
    computed = sum(one.computed for one in (*scoring, *explained)) + again
    return passes, [scores for scores, _ in scored], len(explained), computed / len(asked)


def built(rows: Sequence[Row], prompters: dict[str, Prompter]) -> dict[str, list[tuple[Row, Post, Prompt]]]:
    """The prompts of each layout, of the rows that fit in all of them."""
    posts = [post_of(row) for row in rows]
    made = {name: prompter.build_many(posts) for name, prompter in prompters.items()}
    fit = [n for n in range(len(rows)) if all(isinstance(one[n], Prompt) for one in made.values())]
    return {
        name: [(rows[n], posts[n], found) for n in fit if isinstance(found := prompts[n], Prompt)]
        for name, prompts in made.items()
    }


def lengths(prompts: Sequence[Prompt]) -> dict[str, float]:
    """Mean tokens around a post."""
    return {
        "before": statistics.fmean(one.shared_tokens for one in prompts),
        "after": statistics.fmean(len(one.token_ids) - one.content[1] for one in prompts),
        "prompt": statistics.fmean(len(one.token_ids) for one in prompts),
    }


def trained(prompts: dict[str, list[tuple[Row, Post, Prompt]]]) -> dict[str, float]:
    """Mean tokens that a training would compute for such rows, their texts as long in both layouts."""
    pairs = [
        (len(ours.token_ids), len(theirs.token_ids))
        for (*_, ours), (*_, theirs) in zip(prompts[OURS], prompts[VENDOR], strict=True)
    ]
    short = statistics.fmean(min(ours, _TRAINED_TOKENS) for ours, _ in pairs)
    return {OURS: short, VENDOR: short + statistics.fmean(theirs - ours for ours, theirs in pairs)}


def judgement(
    rows: Sequence[tuple[Row, Post]], scores: dict[str, list[Scores]], policy: Policy
) -> dict[str, Any]:
    """Against the labels, and layout against layout."""
    wanted = [policy.decide(post, certain(row.severity)).action for row, post in rows]
    actions = {
        name: [policy.decide(post, one).action for (_, post), one in zip(rows, found, strict=True)]
        for name, found in scores.items()
    }
    return {
        "judgement": {
            name: {
                "severity": share(
                    sum(one.severity == row.severity for (row, _), one in zip(rows, found, strict=True)),
                    len(rows),
                ),
                "action": share(
                    sum(one is label for one, label in zip(actions[name], wanted, strict=True)), len(rows)
                ),
            }
            for name, found in scores.items()
        },
        "all_safe": share(sum(row.severity == "safe" for row, _ in rows), len(rows)),
        "differ": share(
            sum(one is not other for one, other in zip(actions[OURS], actions[VENDOR], strict=True)),
            len(rows),
        ),
    }


async def measure(asked: argparse.Namespace, engine: Asked, bundle: Bundle) -> dict[str, Any]:
    """All rounds, layouts in turn, every second round the other way round."""
    policy = Policy.load(asked.policy)
    layouts: dict[str, Layout] = {OURS: CompactLayout(), VENDOR: vendor_layout(asked.template)}
    limit = bundle.manifest.limits.max_prompt_tokens
    prompters = {
        name: Prompter(bundle.tokenizer, layout, max_prompt_tokens=limit) for name, layout in layouts.items()
    }
    warm = {name: prompter.build(Post(id="warm", text="Hello")) for name, prompter in prompters.items()}
    prompts = built(sampled(asked.data, asked.limit, seed=asked.seed), prompters)
    load = os.getloadavg()[0]
    passes: list[Pass] = []
    first: dict[str, tuple[list[Scores], int, float]] = {}
    for number in range(asked.rounds):
        for name in [*layouts][:: -1 if number % 2 else 1]:
            pairs = [(post, prompt) for _, post, prompt in prompts[name]]
            first_prompt = warm[name]
            if isinstance(first_prompt, ItemFailure):
                raise SystemExit(f"{name}: leaves no room for a post in {limit} tokens")
            found, scores, explained, again = await one_round(engine, pairs, name, policy, warm=first_prompt)
            passes += found
            first.setdefault(name, (scores, explained, again))
            print(f"round {number + 1} of {asked.rounds}: {name}", file=sys.stderr, flush=True)
    rows = [(row, post) for row, post, _ in prompts[OURS]]
    return {
        "data": asked.data.name if asked.data else "benchmarks/samples",
        "posts": len(rows),
        "seed": asked.seed,
        "rounds": asked.rounds,
        "template": asked.template is not None,
        "policy": policy.digest,
        "load": [load, os.getloadavg()[0]],
        "layouts": {name: lengths([one for *_, one in found]) for name, found in prompts.items()},
        "trained": trained(prompts),
        "explained": {name: share(first[name][1], len(rows)) for name in layouts},
        "again": {name: first[name][2] for name in layouts},
        "passes": [asdict(one) for one in passes],
        **judgement(rows, {name: first[name][0] for name in layouts}, policy),
    }


def training_rate(folder: Path) -> dict[str, Any]:
    """How fast a training was, by its log.

    Raises:
        SystemExit: It has no step in it yet.
    """
    path = folder / "log.jsonl"
    try:
        said = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        last = [one for one in said if one["what"] == "step"][-1]
        return {
            "rows": SHIPPED_ROWS,
            "measured_rows": last["rows"],
            "rows_per_s": last["rows"] / last["seconds"],
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SystemExit(
            f"{path}: tells no rate ({type(error).__name__}); give the folder of a training with --training"
        ) from error


def kept_rate(out: Path | None) -> dict[str, Any] | None:
    """That of the report that is about to be replaced."""
    path = out / "layouts.json" if out else None
    if path is None or not path.is_file():
        return None
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8"))["training"]
    return found


def machine() -> dict[str, str]:
    """What ran this, without a name of it."""
    return {
        **installed("sluicegate", "xllamacpp"),
        "Python": platform.python_version(),
        platform.system(): platform.machine(),
        "CPUs": str(os.cpu_count()),
    }


async def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Start the engine and measure."""
    bundle = Bundle.open(cpu_bundle_path())
    async with serving(bundle, threads=asked.threads) as engine:
        found = await measure(asked, engine, bundle)
    return {
        "command": "python benchmarks/layouts",
        "engine": {
            "backend": "llama_cpp",
            "model": bundle.manifest.base.name,
            "digest": bundle.digest,
            "threads": asked.threads,
        },
        "machine": machine(),
        "training": training_rate(asked.training) if asked.training else kept_rate(asked.out),
        **found,
    }


def parser_of_command() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, help="the stream, JSON lines; default: benchmarks/samples")
    parser.add_argument(
        "--limit", type=int, default=40, help="posts, every language and severity by its share"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=8, help="of the sample")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the engine")
    parser.add_argument(
        "--template", type=Path, help="a checkpoint's chat_template.jinja for the vendor layout"
    )
    parser.add_argument("--policy", type=Path, help="policy file; default: the built-in one")
    parser.add_argument(
        "--training", type=Path, help="folder of a training, for its rate; default: as reported"
    )
    parser.add_argument("--out", type=Path, help="folder for layouts.json and layouts.md")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the page, and keep both forms if asked."""
    asked = parser_of_command().parse_args(arguments)
    try:
        report = asyncio.run(run(asked))
    except (EngineError, OSError) as error:
        print(f"layouts: {error}", file=sys.stderr)
        return 1
    print(page(report))
    if asked.out:
        write(asked.out, "layouts", report, page(report))
    return 0
