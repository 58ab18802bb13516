"""Are posts believed that talk to the guard, or that bury what they say?

    PYTHONPATH=benchmarks:tests python -m dilution [--model qwen2.5-0.5b] [--data posts-10k.jsonl] [--out benchmarks/reports]

First the attacks of the injection suite (tests/support/attacks.py): none may move a token outside the post. Then 400
harmful posts, each with something harmless around it, judged by the real CPU model as the worker judges them. With a
stream of labelled posts it also counts what that costs. What the model said is kept in --work: a stopped run goes on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from dilution.judging import Judging
from dilution.report import Found, document, page
from dilution.stream import measure
from dilution.suite import suite
from shared.report import folder_of, options, write
from sluicegate.engines.cpu_model.models import MODELS, SMALL
from sluicegate.engines.text.segmenter import Parts
from sluicegate.schemas import Post
from support.attacks import CASES

if TYPE_CHECKING:
    import argparse

    from dilution.stream import Cost
    from sluicegate.engines.protocol import Prompt


def attacks_held(judging: Judging) -> tuple[int, int]:
    """Attacks that stay within the post, and all: what stands around it is as in the prompt of a harmless post."""
    plain = judging.prompt(Post(id="plain", text="Hello"))
    held = fit = 0
    for text in CASES.values():
        prompt = judging.prompt(Post(id="attack", text=text))
        if prompt is None:
            continue  # longer than one prompt: a worker judges it in segments, each built in the same way
        fit += 1
        held += (
            plain is not None
            and _around(prompt) == _around(plain)
            and not judging.controls & {*_content(prompt)}
        )
    return held, fit


def _around(prompt: Prompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
    first, end = prompt.content
    return prompt.token_ids[:first], prompt.token_ids[end:]


def _content(prompt: Prompt) -> tuple[int, ...]:
    first, end = prompt.content
    return prompt.token_ids[first:end]


async def judged(judging: Judging, data: Path | None) -> tuple[list[Found], Cost | None]:
    """The suite, and a stream where one is given."""
    posts = suite()
    every = {one.id: one for diluted in posts for one in (diluted.post, diluted.original)}
    before = await judging.build([*every.values()], passages=False)
    now = await judging.build([*every.values()], passages=True)
    await judging.score(
        [
            part.prompt
            for built in (before, now)
            for parts in built.values()
            if isinstance(parts, Parts)
            for part in parts.parts
        ],
        "the suite",
    )
    found = [
        Found(
            one,
            original=judging.action(one.original, before[one.original.id]),
            before=judging.action(one.post, before[one.post.id]),
            now=judging.action(one.post, now[one.post.id]),
        )
        for one in posts
    ]
    return found, await measure(judging, data) if data else None


async def run(asked: argparse.Namespace) -> None:
    """Judge, print the page, and keep both forms if asked."""
    model = MODELS[asked.model]
    async with Judging(asked.work, model) as judging:
        held = attacks_held(judging)
        found, cost = await judged(judging, asked.data)
        told = document(found, cost, held, model=judging.info.model, digest=judging.info.digest)
    text = page(told, cost)
    print(text)
    if asked.out:
        write(folder_of(model, asked.out), "dilution", told, text)
    print(told["summary"])


def main() -> None:
    """Read the command line and run."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, help="a stream of labelled posts, JSON lines")
    parser.add_argument("--model", choices=list(MODELS), default=SMALL.name, help="the CPU model")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/dilution"), help="folder of what the model said"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for dilution.json and dilution.md; a model that is not the default has one of its own in it",
    )
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
