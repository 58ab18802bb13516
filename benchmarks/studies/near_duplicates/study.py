"""Which texts may stand in for one another, what that saves, and what harm it does.

    python benchmarks/studies/near_duplicates --data posts-10k.jsonl [--out benchmarks/reports]
    python benchmarks/studies/near_duplicates --data posts-10k.jsonl --engine llama_cpp [--limit 150] [--every-rule]

The stream is JSON lines: `id`, `text`, `language`, `region`, `label.severity`. The shipped rule and more
generous ones are measured on it, and on pairs of texts that look alike and mean different things. Labels stand for
the earlier assessment; with an engine its own judgements do, too: what it said is kept in `--work`, and a
stopped run goes on from there.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.judging import LIMITS, Judged, Store, ask, certain, parts_of, sample
from shared.report import ROOT, options, write
from shared.rows import read_rows
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.fake import fake_prompter
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.segmenter import Parts, Segmenter
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.decider import SEVERITY
from sluicegate.pipeline.settings.sections import NearDuplicateSettings
from sluicegate.pipeline.shortcuts.cache import cache_key
from sluicegate.pipeline.shortcuts.near_duplicates import is_sure
from sluicegate.schemas import Post
from studies.evasion.study import read
from studies.near_duplicates.floods import MUTATIONS, flood
from studies.near_duplicates.report import Labelled, page, replay, stands_in
from studies.near_duplicates.rules import RULES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from studies.evasion.study import Row
    from studies.near_duplicates.report import Reuse

_PAIRS = ROOT / "benchmarks" / "pairs"
_CONFIDENCE = NearDuplicateSettings().confidence


def labelled(rows: Sequence[Row], policy: Policy) -> list[Labelled]:
    """The rows, with what their labels would have the policy do."""
    return [
        Labelled(
            row.post.id,
            row.post.text,
            f"{row.post.language}/{row.post.region}",
            policy.decide(row.post, certain(row.severity)).action,
        )
        for row in rows
    ]


def read_pairs(folder: Path, policy: Policy) -> list[tuple[str, Labelled, Labelled]]:
    """Every pair, with what changes between its texts.

    Raises:
        SystemExit: A line is no such pair.
    """

    def pair(said: Any, number: int, name: str) -> tuple[str, Labelled, Labelled]:
        first, second = (
            Labelled(
                f"{name}-{number}-{side}",
                said[side],
                said["language"],
                policy.decide(Post(id="p", text=said[side]), certain(said[f"{side}_label"])).action,
            )
            for side in ("first", "second")
        )
        return said["change"], first, second

    return [
        one
        for path in sorted(folder.glob("*.jsonl"))
        for one in read_rows(
            path, partial(pair, name=path.stem), is_no="pair", see="benchmarks/pairs/README.md"
        )
    ]


def prompts_of(rows: Sequence[Row]) -> dict[str, set[bytes]]:
    """By post, the keys of what the engine is asked about it: its own text, and its folded form."""
    segmenter, info = Segmenter(fake_prompter(), folds=True), open_backend(EngineChoice("fake")).engine.info
    built = segmenter.build_many([row.post for row in rows], [LIMITS] * len(rows))
    return {
        row.post.id: {cache_key(part.prompt, info) for part in parts.parts}
        for row, parts in zip(rows, built, strict=True)
        if isinstance(parts, Parts)
    }


def measure_rules(
    stream: list[Labelled], pairs: list[tuple[str, Labelled, Labelled]], prompts: dict[str, set[bytes]]
) -> tuple[list[dict[str, Any]], dict[str, list[Reuse]]]:
    """A line for each rule, and what it reused."""
    asked = len(set().union(*prompts.values()))
    told: list[dict[str, Any]] = []
    reused: dict[str, list[Reuse]] = {}
    for make in RULES:
        rule = make()
        began = time.process_time()
        reuses = replay(rule, stream)
        spent_s = time.process_time() - began
        reused[rule.name] = reuses
        saved = {one.id for one in reuses}
        left = len(set().union(*(keys for one, keys in prompts.items() if one not in saved)))
        hits = [change for change, *sides in pairs if stands_in(make, *sides)]
        told.append(
            {
                "rule": rule.name,
                "reused": {"hits": sum(one.harmful for one in reuses), "of": len(reuses)},
                "saved": 1 - left / asked,
                "pairs": {"hits": len(hits), "of": len(pairs)},
                "by_change": dict(Counter(hits)),
                "microseconds": spent_s / len(stream) * 1e6,
            }
        )
    return told, reused


def compare(
    reuses: Sequence[Reuse], posts: dict[str, Post], judged: Judged, policy: Policy
) -> dict[str, Any]:
    """Reuse against a judgement of its own, where the earlier finding was sure."""
    unsure = differ = milder = 0
    for one in reuses:
        source, post = posts[one.source], posts[one.id]
        earlier = judged.finding(source)
        if isinstance(earlier, ItemFailure) or not is_sure(source, earlier, policy, least=_CONFIDENCE):
            unsure += 1
            continue
        given, fresh = judged.action(post, earlier), judged.action(post, judged.finding(post))
        differ += given is not fresh
        milder += SEVERITY.index(given) < SEVERITY.index(fresh)
    return {
        "judged": len(reuses),
        "unsure": unsure,
        "harm": {"hits": differ, "of": len(reuses) - unsure},
        "milder": milder,
    }


async def ask_engine(
    asked: argparse.Namespace, rows: Sequence[Row], reused: dict[str, list[Reuse]], policy: Policy
) -> dict[str, Any]:
    """Judge both sides of what the rules reuse, or of a sample."""
    names = [*reused] if asked.every_rule else [*reused][:1]
    chosen = {name: sample(reused[name], asked.limit) for name in names}
    posts = {row.post.id: row.post for row in rows}
    wanted = {one for reuses in chosen.values() for reuse in reuses for one in (reuse.id, reuse.source)}
    backend = open_backend(EngineChoice(asked.engine, bundle=asked.bundle))
    async with backend.engine:
        info = backend.engine.info
        store = Store(asked.work, info)
        parts = await asyncio.to_thread(parts_of, backend, [posts[one] for one in sorted(wanted)])
        judged = Judged(backend, policy, store, parts)
        built = [one for one in parts.values() if isinstance(one, Parts)]
        await ask(backend, [part.prompt for one in built for part in one.parts], store, "both sides")
        return {
            "backend": info.backend,
            "model": info.model,
            "digest": info.digest,
            "policy": policy.digest,
            "confidence": _CONFIDENCE,
            "rules": [{"rule": name} | compare(chosen[name], posts, judged, policy) for name in names],
        }


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for."""
    rows, policy = read(asked.data), Policy.load(asked.policy)
    pairs, prompts = read_pairs(asked.pairs, policy), prompts_of(rows)
    told, reused = measure_rules(labelled(rows, policy), pairs, prompts)
    floods = []
    for mutation in MUTATIONS if asked.copies else ():
        floods.append(await flood(mutation, asked.copies))
        print(f"flood of {mutation}: {floods[-1].prompts} prompts", file=sys.stderr, flush=True)
    return {
        "stream": asked.data.name,
        "posts": len(rows),
        "prompts": len(set().union(*prompts.values())),
        "pairs": len(pairs),
        "pair_languages": dict(Counter(first.group for _, first, _ in pairs)),
        "changes": dict(Counter(change for change, *_ in pairs).most_common()),
        "rules": told,
        "engine": await ask_engine(asked, rows, reused, policy) if asked.engine else None,
        "floods": floods,
    }


def main() -> None:
    """Measure, print the page, and keep both forms if asked."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the stream, JSON lines")
    parser.add_argument("--pairs", type=Path, default=_PAIRS, help="folder of adversarial pairs")
    parser.add_argument("--engine", choices=["fake", "llama_cpp"], help="judge what is reused, too")
    parser.add_argument("--bundle", type=Path, help="folder of the engine bundle; default: the fetched one")
    parser.add_argument("--policy", type=Path, help="policy file; default: the built-in one")
    parser.add_argument("--limit", type=int, help="judge so many reuses of each rule only")
    parser.add_argument("--every-rule", action="store_true", help="judge what the generous rules reuse, too")
    parser.add_argument(
        "--copies", type=int, default=10_000, help="copies of each flood; 0 leaves floods out"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/near-duplicates"), help="folder of what the engine said"
    )
    parser.add_argument("--out", type=Path, help="folder for near-duplicates.json and near-duplicates.md")
    asked = parser.parse_args()
    report = asyncio.run(measure(asked))
    print(page(report))
    if asked.out:
        told = report | {"floods": [asdict(one) for one in report["floods"]]}
        write(asked.out, "near-duplicates", told, page(report))
