"""Do an exported bundle and the adapter it was made of say the same?

    python benchmarks/agreement ADAPTER BUNDLE [--rows FILE ...] [--texts 200] [--out benchmarks/reports]

Each text is scored with torch, in float32, by base and adapter as they were trained, and through llama.cpp by
the exported bundle. The table says how far the probabilities lie apart. Needs the extra `adapt`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from shared.report import table, write
from sluicegate.engines.protocol import Prompt, Scored
from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import Post, decode_post

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.backends import Backend
    from sluicegate.schemas import Scores

_TIMEOUT_S = 3600.0
_BATCH = 16
LABELS = ("safe", "controversial", "unsafe")


@dataclass(frozen=True)
class Agreement:
    """How far two models' answers to the same texts lie apart."""

    texts: int
    unsafe_max: float
    unsafe_mean: float
    any_max: float
    """Over all three labels."""
    any_mean: float
    """Of each text's largest difference."""
    flips: int
    """Texts whose likeliest label differs."""
    spread: float
    """Standard deviation of p(unsafe) in the original: what the differences are small against."""


def agreement(original: Sequence[Scores], exported: Sequence[Scores]) -> Agreement:
    """Compare answers, text by text."""
    pairs = list(zip(original, exported, strict=True))
    unsafe = [abs(one.unsafe - other.unsafe) for one, other in pairs]
    largest = [
        max(abs(getattr(one, label) - getattr(other, label)) for label in LABELS) for one, other in pairs
    ]
    return Agreement(
        texts=len(pairs),
        unsafe_max=max(unsafe),
        unsafe_mean=statistics.fmean(unsafe),
        any_max=max(largest),
        any_mean=statistics.fmean(largest),
        flips=sum(one.severity != other.severity for one, other in pairs),
        spread=statistics.pstdev(one.unsafe for one in original),
    )


def page(found: Agreement, *, texts: str) -> str:
    """The table as Markdown."""
    return "\n".join(
        [
            "# Agreement of an exported bundle with its adapter",
            "",
            f"{found.texts} texts from {texts}: torch in float32 against llama.cpp with the exported Q8_0 model.",
            "",
            table(
                ("difference of", "largest", "mean"),
                [
                    ("p(unsafe)", f"{found.unsafe_max:.4f}", f"{found.unsafe_mean:.4f}"),
                    ("any label", f"{found.any_max:.4f}", f"{found.any_mean:.4f}"),
                ],
            ),
            "",
            f"Likeliest label differs: {found.flips} texts.",
            f"Standard deviation of p(unsafe) in the original: {found.spread:.4f}.",
            "",
        ]
    )


def samples(count: int) -> list[Post]:
    """The first texts of the demo's samples."""
    posts = [found for found in map(decode_post, sample_records()) if isinstance(found, Post)]
    return posts[:count]


def rows(paths: Sequence[Path], count: int) -> list[Post]:
    """Texts of labelled files, spread evenly over them."""
    lines = [line for path in paths for line in path.read_bytes().splitlines() if line.strip()]
    step = max(1, len(lines) // count)
    return [Post(id="row", text=orjson.loads(line)["text"]) for line in lines[::step][:count]]


async def score(backend: Backend, posts: Sequence[Post]) -> list[Scores | None]:
    """Scores of each text; None where it is too long, or the engine had no answer."""
    found: list[Scores | None] = []
    async with backend.engine:
        for at in range(0, len(posts), _BATCH):
            built = [backend.prompter.build(post) for post in posts[at : at + _BATCH]]
            prompts = [prompt for prompt in built if isinstance(prompt, Prompt)]
            answers = iter(await backend.engine.score(prompts, timeout_s=_TIMEOUT_S))
            for prompt in built:
                answer = next(answers) if isinstance(prompt, Prompt) else None
                found.append(answer.scores if isinstance(answer, Scored) else None)
    return found


def compare(adapter: Path, bundle: Path, posts: Sequence[Post], *, threads: int | None = None) -> Agreement:
    """Score the texts with both, and compare."""
    from sluicegate.engines.adapt.evaluate.checkpoint import open_checkpoint  # noqa: PLC0415 - loads torch
    from sluicegate.engines.adapt.train.recipe import TrainingRecipe  # noqa: PLC0415 - the same
    from sluicegate.engines.backends import EngineChoice, open_backend  # noqa: PLC0415 - the same

    plan = json.loads((adapter.absolute().parent / "plan.json").read_bytes())
    recipe = TrainingRecipe.model_validate({**plan["recipe"], "precision": "float32"})
    original = asyncio.run(score(open_checkpoint(recipe, adapter, threads=threads), posts))
    exported = asyncio.run(score(open_backend(EngineChoice("llama_cpp", bundle=bundle)), posts))
    pairs = [(one, other) for one, other in zip(original, exported, strict=True) if one and other]
    return agreement([one for one, _ in pairs], [other for _, other in pairs])


def main() -> None:
    """Compare, print the table, and write it where it is wanted."""
    parser = argparse.ArgumentParser(
        description="Compare an exported bundle with the adapter it was made of."
    )
    parser.add_argument("adapter", type=Path, help="folder that `sluicegate adapt train` wrote")
    parser.add_argument(
        "bundle", type=Path, help="folder that `sluicegate adapt export --to llama_cpp` wrote"
    )
    parser.add_argument(
        "--rows", type=Path, nargs="*", default=[], help="labelled files; default: the samples"
    )
    parser.add_argument("--texts", type=int, default=200, help="at most so many")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--out", type=Path, help="folder for agreement.md and agreement.json")
    given = parser.parse_args()
    posts = rows(given.rows, given.texts) if given.rows else samples(given.texts)
    found = compare(given.adapter, given.bundle, posts, threads=given.threads)
    what = ", ".join(path.name for path in given.rows) or "the demo's samples"
    text = page(found, texts=what)
    print(text)
    if given.out:
        write(given.out, "agreement", {"texts_from": what, **asdict(found)}, text, indent=2)
