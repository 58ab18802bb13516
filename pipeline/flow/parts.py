"""From posts to prompts, in a thread pool: tokenising is the one long computation of our own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from sluicegate.engines.backends import Backend
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import LimitSettings
from sluicegate.schemas import FailureCode, Post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_log = structlog.get_logger(__name__)

# Chinese takes the longest to load its tables: a fifth of a second, for which the first posts would wait.
_CHINESE = "电视"


class PartBuilder:
    """Cuts posts into parts that the engine takes, each with its prompt."""

    def __init__(self, backend: Backend, limits: LimitSettings, policy: Callable[[], Policy]) -> None:
        self._segmenter = Segmenter(backend.prompter, folds=limits.folded_forms, passages=backend.passages)
        self._plain = Segmenter(backend.prompter)
        self._limits = limits
        self._policy = policy
        # Two threads: one chunk is tokenised while the next is handed over.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="tokenise")
        if limits.folded_forms:
            self._pool.submit(fold, _CHINESE)

    async def build(self, posts: Sequence[Post]) -> list[Parts | ItemFailure]:
        """The parts of each post, or why it has none. A post that breaks the tokeniser answers for itself."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._build, posts)

    def close(self) -> None:
        """Let the threads end; what they still compute is dropped."""
        self._pool.shutdown(wait=False)

    def _build(self, posts: Sequence[Post]) -> list[Parts | ItemFailure]:
        try:
            return self._segmenter.build_many(posts, [self._length_limits(post) for post in posts])
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the partition
            _log.error("prompt_fault", posts=len(posts), where=frames(error))
            if len(posts) == 1:
                return [self._build_plain(posts[0], error)]
            return [self._build([post])[0] for post in posts]

    def _build_plain(self, post: Post, fault: Exception) -> Parts | ItemFailure:
        """A fault in what is judged beyond the text must not cost a post its judgement."""
        with suppress(Exception):
            return self._plain.build_many([post], [self._length_limits(post)])[0]
        return ItemFailure(FailureCode.INTERNAL, type(fault).__name__)

    def _length_limits(self, post: Post) -> LengthLimits:
        """The worker's own, or the tenant's where those are smaller."""
        rules = self._policy().rules(post)
        tokens, segments = self._limits.post_tokens, self._limits.segments
        return LengthLimits(
            tokens if rules.max_tokens is None else min(tokens, rules.max_tokens),
            segments if rules.max_segments is None else min(segments, rules.max_segments),
        )
