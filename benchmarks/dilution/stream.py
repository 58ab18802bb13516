"""What the passages cost on a stream of labelled posts: tokens for the engine, and harmless posts that leave allow."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.engines.text.segmenter import Parts
from sluicegate.schemas import Action, Post

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dilution.judging import Judging
    from sluicegate.engines.protocol import ItemFailure, Prompt


@dataclass(frozen=True)
class Cost:
    """Counts over a stream."""

    posts: int
    with_passage: int
    computed_before: int
    """Tokens of different prompts, without those that every prompt of its kind and hints begins with."""
    computed_added: int
    whole_before: int
    """The same prompts, whole."""
    whole_added: int
    harmless: int
    """Posts whose label is safe."""
    leave: int
    """Of these: not allowed for their passage alone."""
    leave_texts: int
    """So many different texts among them, copies and near copies left out."""

    @property
    def tokens_percent(self) -> float:
        """More tokens to compute, in percent."""
        return 100 * self.computed_added / self.computed_before

    @property
    def whole_percent(self) -> float:
        """More tokens sent, in percent."""
        return 100 * self.whole_added / self.whole_before

    @property
    def harmless_points(self) -> float:
        """Harmless posts that leave allow, in percent of all harmless posts."""
        return 100 * self.leave / self.harmless


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a stream: JSON lines with `id`, `text` and `label.severity`."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def measure(judging: Judging, path: Path) -> Cost:
    """Judge what of a stream differs: posts without a passage have the parts that they always had."""
    rows = await asyncio.to_thread(read, path)
    posts = [
        Post(id=row["id"], text=row["text"], language=row.get("language"), region=row.get("region"))
        for row in rows
    ]
    before = await judging.build(posts, passages=False)
    after = await judging.build(posts, passages=True)
    added = {post.id: _added(before[post.id], after[post.id]) for post in posts}
    old, new = (
        _different(_prompts(before.values())),
        _different(prompt for prompts in added.values() for prompt in prompts),
    )
    new = {ids: prompt for ids, prompt in new.items() if ids not in old}
    harmless = [
        (row, post) for row, post in zip(rows, posts, strict=True) if row["label"]["severity"] == "safe"
    ]
    await judging.score(
        [prompt for _, post in harmless for prompt in added[post.id]], "passages of the stream"
    )
    suspects = [
        (row, post)
        for row, post in harmless
        if any(judging.part_action(post, prompt) is not Action.ALLOW for prompt in added[post.id])
    ]
    # Only where a passage would be stopped does it matter what the whole is.
    await judging.score(_prompts(before[post.id] for _, post in suspects), "whole posts of the stream")
    leave = [
        row
        for row, post in suspects
        if judging.action(post, before[post.id]) is Action.ALLOW
        and judging.action(post, after[post.id]) is not Action.ALLOW
    ]
    return Cost(
        posts=len(posts),
        with_passage=sum(map(bool, added.values())),
        computed_before=_computed(old),
        computed_added=_computed(new),
        whole_before=sum(map(len, old)),
        whole_added=sum(map(len, new)),
        harmless=len(harmless),
        leave=len(leave),
        leave_texts=len({row.get("variant_of") or row["id"] for row in leave}),
    )


def _prompts(built: Iterable[Parts | ItemFailure]) -> list[Prompt]:
    return [part.prompt for parts in built if isinstance(parts, Parts) for part in parts.parts]


def _added(before: Parts | ItemFailure, after: Parts | ItemFailure) -> list[Prompt]:
    known = _different(_prompts([before]))
    return [prompt for prompt in _prompts([after]) if prompt.token_ids not in known]


def _different(prompts: Iterable[Prompt]) -> dict[tuple[int, ...], Prompt]:
    return {prompt.token_ids: prompt for prompt in prompts}


def _computed(prompts: dict[tuple[int, ...], Prompt]) -> int:
    return sum(len(ids) - prompt.shared_tokens for ids, prompt in prompts.items())
