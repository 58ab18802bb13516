"""Does a disguise change the verdict? Near copies in a stream against their originals, with folded forms and without.

    python benchmarks/studies/evasion --data posts-10k.jsonl --engine llama_cpp [--bundle FOLDER] [--limit 40]
                                 [--out benchmarks/reports]

The stream is JSON lines: `id`, `text`, `label.severity`, and on copies `variant_of` and `variant`. Each
copy and each original is judged in both forms by the engine and decided by the policy, as the worker
does it; only nothing is explained, so rules for categories do not act. What the engine said is kept in `--work`: a
stopped run goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.judging import Judged, Store, ask, parts_of, sample
from shared.report import options, write
from shared.rows import read_rows
from shared.shares import Share
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.decider import SEVERITY
from sluicegate.schemas import Action, Post
from studies.evasion.report import Pair, cost, lines, page

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Row:
    """One post of the stream."""

    post: Post
    severity: str
    variant: str | None = None
    variant_of: str | None = None


def read(path: Path) -> list[Row]:
    """The rows of a stream.

    Raises:
        SystemExit: The file is missing, or a line is no such post.
    """

    def row(said: Any, _number: int) -> Row:
        hints = {name: said.get(name) for name in ("language", "region")}
        post = Post(id=said["id"], text=said["text"], **hints)
        return Row(post, said["label"]["severity"], said.get("variant"), said.get("variant_of"))

    return read_rows(path, row, is_no="labelled post", see="--help")


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Judge what is needed and count."""
    rows, policy = read(asked.data), Policy.load(asked.policy)
    by_id = {row.post.id: row for row in rows}
    copies = sample(
        [row for row in rows if row.variant not in {None, DUPLICATE} and row.variant_of in by_id], asked.limit
    )
    began = time.perf_counter()
    for row in rows:
        fold(row.post.text)
    micros = (time.perf_counter() - began) / max(1, len(rows)) * 1e6
    backend = open_backend(EngineChoice(backend=asked.engine, bundle=asked.bundle))
    async with backend.engine:
        info = backend.engine.info
        store = Store(asked.work, info)
        posts = [row.post for row in rows]
        parts = await asyncio.to_thread(parts_of, backend, posts)
        plain = await asyncio.to_thread(parts_of, backend, posts, folds=False)
        judged = {
            folds: Judged(backend, policy, store, its) for folds, its in ((True, parts), (False, plain))
        }
        folded = [
            row
            for row in rows
            if row.variant is None and isinstance(its := parts[row.post.id], Parts) and its.rules
        ]
        changed = sample(folded, asked.limit)
        ids = dict.fromkeys(
            [one for row in copies for one in (row.post.id, str(row.variant_of))]
            + [row.post.id for row in changed]
        )
        wanted = [
            part.prompt
            for built in (parts, plain)
            for one in ids
            if isinstance(its := built[one], Parts)
            for part in its.parts
        ]
        await ask(backend, wanted, store, "the copies and their originals")

        def action(one: str, *, folds: bool) -> Action:
            post = by_id[one].post
            return judged[folds].action(post, judged[folds].finding(post))

        pairs = {
            folds: [
                Pair(
                    str(row.variant),
                    action(str(row.variant_of), folds=folds),
                    action(row.post.id, folds=folds),
                )
                for row in copies
            ]
            for folds in (False, True)
        }
        raised = [
            (
                row.severity,
                SEVERITY.index(action(row.post.id, folds=True))
                > SEVERITY.index(action(row.post.id, folds=False)),
            )
            for row in changed
        ]

        def spent(part_of: Sequence[Row]) -> dict[str, Any]:
            def keys(its: Parts | ItemFailure) -> list[str]:
                return [store.key(part.prompt) for part in its.parts] if isinstance(its, Parts) else []

            both = ((parts[row.post.id], plain[row.post.id]) for row in part_of)
            return cost((its, keys(its), keys(before)) for its, before in both)

        return {
            "engine": {
                "backend": info.backend,
                "model": info.model,
                "digest": info.digest,
                "adapter": info.adapter,
            },
            "policy": policy.digest,
            "stream": asked.data.name,
            "posts": len(rows),
            "copies": len(copies),
            "failed_prompts": sum(
                isinstance(store.said[key], ItemFailure) for key in set(map(store.key, wanted))
            ),
            "fold_microseconds_per_post": round(micros, 1),
            "cost": spent(rows),
            "cost_undisguised": spent([row for row in rows if row.variant is None]),
            "without": [asdict(line) for line in lines(pairs[False])],
            "with": [asdict(line) for line in lines(pairs[True])],
            "raised": {
                severity: asdict(Share(sum(ups := [up for one, up in raised if one == severity]), len(ups)))
                for severity in sorted({one for one, _ in raised})
            },
        }


def main() -> None:
    """Measure, print the page, and keep both forms if asked."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the stream, JSON lines")
    parser.add_argument("--engine", choices=["fake", "llama_cpp"], default="llama_cpp", help="who judges")
    parser.add_argument(
        "--bundle", type=Path, help="folder of the engine bundle; default: the fetched CPU model"
    )
    parser.add_argument("--policy", type=Path, help="policy file; default: the built-in one")
    parser.add_argument("--limit", type=int, help="judge so many copies, and so many folded originals, only")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/evasion"), help="folder of what the engine said"
    )
    parser.add_argument("--out", type=Path, help="folder for evasion.json and evasion.md")
    asked = parser.parse_args()
    report = asyncio.run(measure(asked))
    print(page(report))
    if asked.out:
        write(asked.out, "evasion", report, page(report))
