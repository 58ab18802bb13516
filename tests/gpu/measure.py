"""Measure one bundle on this machine's GPU and write what was found, without any text, as JSON.

    python -m gpu.measure BUNDLE POSTS.jsonl OUT.json --throughput-s 60 --soak-s 1200

A process of its own for each engine: the next one finds the GPU empty, and a crash takes nothing else along.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from gpu.checks import contradicts
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.gpu import first_visible, probe_gpus
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.schemas import Post, decode_post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluicegate.engines.backends import Backend

_TIMEOUT_S = 600.0
_BATCH = 64
_WRITTEN = 100
"""Posts that are also judged without a forced label: slow, since every token is generated."""
_EVERY_S = 5.0
_FREE = re.compile(r"Safety: (Safe|Controversial|Unsafe)(\nCategories: .*)", re.DOTALL)

Memory = tuple[float, float]
"""MiB of the process, MiB in use on the GPU."""


async def measure(
    backend: Backend,
    posts: Sequence[Post],
    *,
    throughput_s: float,
    soak_s: float,
    memory: Callable[[], Memory],
    every_s: float = _EVERY_S,
) -> dict[str, Any]:
    """Everything the acceptance asks of one engine, over a backend that is not started yet."""
    built = backend.prompter.build_many(list(posts))
    prompts = [prompt for prompt in built if isinstance(prompt, Prompt)]
    async with backend.engine as engine:
        health = await engine.health()
        scored = await _in_batches(engine.score, prompts)
        severities = [_severity(answer) for answer in scored]
        return {
            "health": health.ok,
            "too_long": len(built) - len(prompts),
            "severities": severities,
            "scores": [_scores(answer) for answer in scored],
            "label_mass": [answer.label_mass if isinstance(answer, Scored) else None for answer in scored],
            "failures": _codes(scored),
            "cached_again": await _cached_again(engine, prompts[:_BATCH]),
            "explanations": await _explain(backend, prompts, severities),
            "written": [await _write(backend, prompt) for prompt in prompts[:_WRITTEN]],
            "throughput": await _throughput(backend, posts, throughput_s),
            "memory": await _soak(backend, posts, soak_s, memory, every_s),
        }


def _severity(answer: Scored | ItemFailure) -> str | None:
    return answer.scores.severity if isinstance(answer, Scored) else None


def _scores(answer: Scored | ItemFailure) -> list[float] | None:
    if isinstance(answer, ItemFailure):
        return None
    return [answer.scores.safe, answer.scores.controversial, answer.scores.unsafe]


def _codes(answers: Sequence[object]) -> dict[str, int]:
    return dict(Counter(answer.code.value for answer in answers if isinstance(answer, ItemFailure)))


async def _in_batches(call: Any, prompts: Sequence[Prompt]) -> list[Scored | ItemFailure]:
    answers: list[Scored | ItemFailure] = []
    for start in range(0, len(prompts), _BATCH):
        answers += await call(prompts[start : start + _BATCH], timeout_s=_TIMEOUT_S)
    return answers


async def _cached_again(engine: Any, prompts: Sequence[Prompt]) -> list[int]:
    """Tokens of each prompt that the engine need not compute when it comes a second time."""
    answers: list[Scored | ItemFailure] = await engine.score(prompts, timeout_s=_TIMEOUT_S)
    return [answer.cached_tokens for answer in answers if isinstance(answer, Scored)]


async def _explain(
    backend: Backend, prompts: Sequence[Prompt], severities: Sequence[str | None]
) -> dict[str, Any]:
    pairs = [(prompt, found) for prompt, found in zip(prompts, severities, strict=True) if found]
    answers: list[Explanation | ItemFailure] = []
    for start in range(0, len(pairs), _BATCH):
        part = pairs[start : start + _BATCH]
        answers += await backend.engine.explain(
            [prompt for prompt, _ in part],
            [found for _, found in part],  # type: ignore[misc]  # severities, as the engine gave them
            timeout_s=_TIMEOUT_S,
        )
    return {
        "asked": len(answers),
        "failures": _codes(answers),
        "contradictions": sum(
            isinstance(answer, Explanation) and contradicts(found, answer.categories)
            for answer, (_, found) in zip(answers, pairs, strict=True)
        ),
    }


async def _write(backend: Backend, prompt: Prompt) -> dict[str, Any]:
    """What the model writes by itself: the head of the label, which we force otherwise, and all after it."""
    head = backend.prompter.tokenizer.encode_static("Safety:")
    engine: Any = backend.engine  # the TensorRT-LLM engine; over others nothing is written
    ids = await engine._in_flight().ask(
        prompt.token_ids[: -len(head)],
        engine._texts[prompt.kind],
        lambda asked: asked.token_ids,
    )
    if isinstance(ids, ItemFailure):
        return {"failure": ids.code.value}
    text = backend.prompter.tokenizer.decode(ids).removesuffix("<|im_end|>")
    shape = _FREE.fullmatch(text)
    read = parse_explanation(shape[2], prompt.kind, backend.categories) if shape else None
    return {
        "first_ids": list(ids[: len(head)]),
        "severity": shape[1].lower() if shape else None,
        "readable": isinstance(read, Explanation),
    }


async def _throughput(backend: Backend, posts: Sequence[Post], seconds: float) -> dict[str, Any]:
    """Posts a second of a closed loop that keeps the engine full, after a tenth of the time to warm up."""
    done: list[tuple[float, Prompt]] = []
    began = time.monotonic()
    await _loop(backend, posts, seconds, lambda prompt: done.append((time.monotonic() - began, prompt)))
    counted = [prompt for at, prompt in done if at >= seconds / 10]
    return {
        "posts": len(counted),
        "posts_s": len(counted) / (seconds * 0.9),
        "prompt_tokens": sum(len(prompt.token_ids) for prompt in counted) / max(1, len(counted)),
        "shared_tokens": min((prompt.shared_tokens for prompt in counted), default=0),
    }


async def _soak(
    backend: Backend, posts: Sequence[Post], seconds: float, memory: Callable[[], Memory], every_s: float
) -> list[Memory]:
    """Memory while the engine is kept full."""
    samples: list[Memory] = []

    async def watch() -> None:
        while True:
            samples.append(await asyncio.to_thread(memory))
            await asyncio.sleep(every_s)

    watching = asyncio.create_task(watch())
    try:
        await _loop(backend, posts, seconds, lambda _: None)
    finally:
        watching.cancel()
    return samples


async def _loop(
    backend: Backend, posts: Sequence[Post], seconds: float, done: Callable[[Prompt], None]
) -> None:
    """Score for so long, with the engine always full. No prompt comes twice: it would be found in the cache."""
    numbers = count()
    until = time.monotonic() + seconds

    async def worker() -> None:
        while time.monotonic() < until:
            number = next(numbers)
            post = posts[number % len(posts)]
            prompt = backend.prompter.build(post.model_copy(update={"text": f"{number} {post.text}"}))
            if isinstance(prompt, Prompt):
                (answer,) = await backend.engine.score([prompt], timeout_s=_TIMEOUT_S)
                if isinstance(answer, Scored):
                    done(prompt)

    await asyncio.gather(*(worker() for _ in range(2 * backend.engine.info.saturating_prompts)))


def read_memory() -> Memory:
    """Of this process and of the GPU that it takes, as the driver counts."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kib,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(kib) / 1024, float(used_mib())


def used_mib() -> int:
    """MiB in use on the GPU, by whomever."""
    import subprocess  # noqa: PLC0415 - on a GPU machine only

    query = ["nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    used = dict(line.split(", ") for line in lines)
    return int(used[first_visible(probe_gpus()).uuid])


class _Told(logging.Handler):
    """Keeps warnings."""

    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(record.getMessage())


def main() -> None:
    """Read arguments, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("posts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--throughput-s", type=float, default=60.0)
    parser.add_argument("--soak-s", type=float, default=1200.0)
    chosen = parser.parse_args()
    posts = [
        post for line in chosen.posts.read_bytes().splitlines() if isinstance(post := decode_post(line), Post)
    ]
    backend = open_backend(EngineChoice("tensorrt_llm", bundle=chosen.bundle))
    warnings: list[str] = []
    logging.getLogger("sluicegate").addHandler(_Told(warnings))
    found = asyncio.run(
        measure(backend, posts, throughput_s=chosen.throughput_s, soak_s=chosen.soak_s, memory=read_memory)
    )
    gpu = first_visible(probe_gpus())
    facts = {
        "gpu": gpu.name,
        "driver": gpu.driver,
        "bundle": backend.engine.info.digest,
        "warnings": warnings,
    }
    chosen.out.write_bytes(orjson.dumps({**facts, **found}, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
