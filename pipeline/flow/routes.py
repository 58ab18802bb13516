"""Routes: one for each adapter, with its engine and all that its posts meet there."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import structlog

from sluicegate.engines.backends import Backend, Backends
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.flow.decision import engine_reference
from sluicegate.pipeline.flow.depth import Depth
from sluicegate.pipeline.flow.judge import Judge, Question
from sluicegate.pipeline.flow.planner import BatchLimits
from sluicegate.pipeline.flow.servers import InWorkFile, Servers, default_folder
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import LimitSettings, Settings
from sluicegate.pipeline.shortcuts.cache import cache_key
from sluicegate.schemas import Assessment, FailureCode, Post, Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


_log = structlog.get_logger(__name__)

# Chinese takes the longest to load its tables: a fifth of a second, for which the first posts would wait.
_CHINESE = "电视"


class Decided(NamedTuple):
    """A post, and the policy that it is to be decided by."""

    post: Post
    policy: Policy


class PartBuilder:
    """Cuts posts into parts that the engine takes, each with its prompt."""

    def __init__(self, backend: Backend, limits: LimitSettings) -> None:
        self._segmenter = Segmenter(backend.prompter, folds=limits.folded_forms, passages=backend.passages)
        self._plain = Segmenter(backend.prompter)
        self._info = backend.engine.info
        self._limits = LengthLimits(limits.post_tokens, limits.segments)
        # Two threads: one chunk is tokenised while the next is handed over.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="tokenise")
        if limits.folded_forms:
            self._pool.submit(fold, _CHINESE)

    async def build(self, posts: Sequence[Decided]) -> list[tuple[Parts | ItemFailure, tuple[bytes, ...]]]:
        """The parts of each post with their keys in the cache, or why it has none. A post that breaks the tokeniser answers for itself."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._build_with_keys, posts)

    def close(self) -> None:
        """Let the threads end; what they still compute is dropped."""
        self._pool.shutdown(wait=False)

    def _build_with_keys(
        self, posts: Sequence[Decided]
    ) -> list[tuple[Parts | ItemFailure, tuple[bytes, ...]]]:
        # The tokens are hashed where they were made: to read them again in another thread costs as much as the hash.
        return [(parts, self._keys(parts)) for parts in self._build(posts)]

    def _keys(self, parts: Parts | ItemFailure) -> tuple[bytes, ...]:
        if isinstance(parts, ItemFailure):
            return ()
        return tuple([cache_key(part.prompt, self._info) for part in parts.parts])

    def _build(self, posts: Sequence[Decided]) -> list[Parts | ItemFailure]:
        try:
            return self._segmenter.build_many(
                [one.post for one in posts], [self._length_limits(one) for one in posts]
            )
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the partition
            _log.error("prompt_fault", posts=len(posts), where=frames(error))
            if len(posts) == 1:
                return [self._build_plain(posts[0], error)]
            return [self._build([post])[0] for post in posts]

    def _build_plain(self, one: Decided, fault: Exception) -> Parts | ItemFailure:
        """A fault in what is judged beyond the text must not cost a post its judgement."""
        with suppress(Exception):
            return self._plain.build_many([one.post], [self._length_limits(one)])[0]
        return ItemFailure(FailureCode.INTERNAL, type(fault).__name__)

    def _length_limits(self, one: Decided) -> LengthLimits:
        """The worker's own, or the tenant's where those are smaller."""
        rules, own = one.policy.rules(one.post), self._limits
        if rules.max_tokens is None and rules.max_segments is None:
            return own
        return LengthLimits(
            own.tokens if rules.max_tokens is None else min(own.tokens, rules.max_tokens),
            own.segments if rules.max_segments is None else min(own.segments, rules.max_segments),
        )


_TIMEOUT_SHARE = 1 / 2
"""Of a score call's timeout, for the texts in work: the engine may read the next ones at half the speed of its last answers."""


class Route:
    """Where the posts of one adapter are judged: its prompts, its judge, its stamp and its calibration.

    Args:
        adapter: Its name in the policy and the settings; None is the engine's own route.
        backend: The engine, and what makes its prompts.
        judge: Asks it.
        parts: Cuts posts for it.
    """

    def __init__(self, adapter: str | None, backend: Backend, judge: Judge, parts: PartBuilder) -> None:
        self.adapter = adapter
        self.server = backend.server
        self.info = backend.engine.info
        self.judge = judge
        self.parts = parts
        self.stamp = engine_reference(self.info, calibrated=backend.calibration is not None)
        """The engine's stamp on a verdict."""
        self.in_flight = 0
        """Micro-batches that were sent and are not done."""
        self.in_work = 0
        """Their prompts that are not answered yet."""
        self.tokens_in_work = 0
        """Tokens of those."""
        self._calibration = backend.calibration

    def begin(self, micro_batch: Sequence[Question]) -> int:
        """Count a micro-batch that is sent; how many tokens it has."""
        self.in_flight += 1
        return self.shift(micro_batch, 1)

    def is_at_work_on(self, question: Question) -> bool:
        """True if the engine is at work, and does not keep this question back meanwhile."""
        return self.judge.adapter_state.up and not self.judge.keeps_back(question)

    def shift(self, items: Sequence[Question], way: int) -> int:
        """Count prompts that go to the engine (1) or are answered (-1); how many tokens they have."""
        tokens = sum([item.tokens for item in items])
        self.in_work += way * len(items)
        self.tokens_in_work += way * tokens
        return tokens

    def calibrated(self, scores: Scores, post: Post) -> Scores:
        """What the policy sees of an engine's scores; the same where its bundle has no calibration."""
        if self._calibration is None:
            return scores
        return self._calibration.calibrated(scores, post.kind, post.language)

    def finding(self, assessment: Assessment, post: Post) -> Assessment:
        """An assessment with calibrated scores, and the severity that they give."""
        if self._calibration is None:
            return assessment
        scores = self.calibrated(assessment.scores, post)
        return assessment.model_copy(update={"scores": scores, "severity": scores.severity})


class Cut(NamedTuple):
    """A post, cut into prompts."""

    route: Route
    """Of the adapter that the post's policy names."""
    parts: Parts | ItemFailure
    keys: tuple[bytes, ...]
    """Of each part, in the cache."""


class Share(NamedTuple):
    """Routes that send micro-batches together."""

    routes: set[Route]
    free: int
    """How many more they may send."""
    idle: bool
    """True if one that is not full should be among them."""
    limits: BatchLimits
    """Of each."""


class Routes:
    """Every adapter's route, and the engine's own. One event loop.

    Args:
        backends: By adapter; entered by the caller.
        settings: As for the worker.
        policy: The policy in force. It names no adapter that has no engine here.
        instruments: What watches.
        turned: Told when an engine left its work or is back.
    """

    def __init__(
        self,
        backends: Backends,
        settings: Settings,
        policy: Callable[[], Policy],
        instruments: Instruments,
        *,
        turned: Callable[[], None],
    ) -> None:
        self._policy = policy
        self._wait_s = settings.engine.adapter_wait_s
        info = next(iter(backends.values())).engine.info
        self._saturating = info.useful_prompts
        self._micro_batch = settings.micro_batch
        self._in_engine_s = settings.engine.score_timeout_s * _TIMEOUT_SHARE
        self.depth = Depth(self._saturating, settings.window.posts, continuous=info.continuous)
        instruments.metrics.prompts_limit.set_function(lambda: self.depth.limit)
        self._turned = turned
        in_process = any(backend.in_process for backend in backends.values())
        folder = settings.engine.in_work_folder or default_folder()
        self.servers = Servers(instruments.clock, InWorkFile(folder) if in_process else None)
        self._routes: dict[str | None, Route] = {}
        for name, backend in backends.items():
            judge = Judge(
                backend.engine,
                settings.engine,
                instruments,
                self.servers.of(backend),
                adapter=name,
                turned=self._engine_turned,
                depth=self.depth,
            )
            self._routes[name] = Route(name, backend, judge, PartBuilder(backend, settings.limits))

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    async def cut(self, posts: Sequence[Decided]) -> list[Cut]:
        """Each post in parts, by the route that its policy names; in threads, a route's posts together."""
        routes = [self._routes[policy.rules(post).adapter] for post, policy in posts]
        cut: dict[int, Cut] = {}
        for route in dict.fromkeys(routes):
            numbers = [number for number, one in enumerate(routes) if one is route]
            built = await route.parts.build([posts[number] for number in numbers])
            cut.update((number, Cut(route, *one)) for number, one in zip(numbers, built, strict=True))
        return [cut[number] for number in range(len(posts))]

    @property
    def all_at_work(self) -> bool:
        """False while any engine is away or on trial."""
        return all(route.judge.adapter_state.up for route in self)

    def are_at_work(self, adapters: Iterable[str | None]) -> bool:
        """Whether none of these engines is away or on trial."""
        return all(self._routes[name].judge.adapter_state.up for name in adapters)

    def shares(self) -> Iterator[Share]:
        """Which routes may send micro-batches together, and how many more.

        All engines at work share the depth, or ``micro_batch.in_flight`` where it is set. One that is away gets one
        micro-batch, to wait for it and try it, and takes no room from the others meanwhile: more would all be
        sent at once when it is back.
        """
        at_work, limits = {route for route in self if route.judge.adapter_state.up}, self._limits()
        if at_work:
            in_work = sum(route.in_work for route in at_work)
            if self._micro_batch.in_flight is None:
                tokens = sum(route.tokens_in_work for route in at_work)
                free, bounded = self._in_time(self.depth.room(in_work, limits.posts), limits, tokens)
            else:
                free, bounded = (
                    self._micro_batch.in_flight - sum(route.in_flight for route in at_work),
                    limits,
                )
            yield Share(at_work, free, self.depth.hungry(in_work), bounded)
        for route in self:
            if route not in at_work:
                yield Share({route}, 1 - route.in_flight, idle=True, limits=limits)

    def _in_time(self, free: int, limits: BatchLimits, tokens_in_work: int) -> tuple[int, BatchLimits]:
        """So many micro-batches, and so large, that an engine reads all in work well within their time."""
        within = self.depth.tokens_within(self._in_engine_s)
        if within is None:  # of an engine that has not answered yet, as much as one may have
            within = limits.tokens
        # Never less than half of what one may have, be that too much for a very slow engine: where a call takes its
        # time whatever is in it, ever smaller ones would only look ever slower.
        left = max(within, limits.tokens / 2) - tokens_in_work
        if left <= 0:
            return 0, limits
        if left < limits.tokens:
            return min(free, 1), replace(limits, tokens=math.ceil(left))
        return int(min(free, left / limits.tokens)), limits

    def _limits(self) -> BatchLimits:
        """Of a micro-batch sent now, whatever is in work."""
        given, age_ms = self._micro_batch, self._micro_batch.max_age_ms
        max_age_s = self.depth.patience_s if age_ms is None else age_ms / 1000
        return BatchLimits(given.posts or self._saturating, given.tokens, max_age_s)

    def _engine_turned(self) -> None:
        self.depth.reset()  # what comes back may be another engine, and is cold in any case
        self._turned()

    def given_up(self, now: float) -> set[Route]:
        """Those whose engine has been away for too long while another is at work.

        Their posts get their failure mode, since what they hold up are other tenants' posts. While the
        engine is on trial they wait for what it says. An outage of all engines does not count: one of them is back first.
        """
        named = self._policy().adapters
        at_work = [route for route in self if route.judge.adapter_state.up and route.adapter in named]
        return {
            route
            for route in self
            if (since := route.judge.adapter_state.away_since) is not None
            and any(
                now - max(since, other.judge.adapter_state.up_since) >= self._wait_s
                for other in at_work
                if _serves(other, route, since)
            )
        }

    def close(self) -> None:
        """Let the threads that tokenise end."""
        for route in self:
            route.parts.close()


def _serves(other: Route, away: Route, since: float) -> bool:
    """True if one engine is at work beside another that is away: not if nobody asked it, on a server that is gone."""
    return (
        other.server is None or other.server != away.server or other.judge.adapter_state.answered_at > since
    )
