"""The worker: one process of the consumer group, from start to drained exit."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.engines.backends import Backends, open_backends
from sluicegate.engines.errors import EngineError
from sluicegate.engines.protocol import EngineInfo
from sluicegate.pipeline.control.topic import ControlTopic
from sluicegate.pipeline.errors import PolicyError, StartError
from sluicegate.pipeline.flow.breaker import Breaker
from sluicegate.pipeline.flow.first_answers import FirstAnswers
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.flow.tried import Beside, Candidate, EngineRest
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.kafka.check import require_rights
from sluicegate.pipeline.kafka.publisher import Publisher
from sluicegate.pipeline.kafka.source import Source
from sluicegate.pipeline.observe.instruments import Instruments, open_tracing
from sluicegate.pipeline.observe.logs import DROPPED
from sluicegate.pipeline.observe.server import OpsServer, Report
from sluicegate.pipeline.patterns.matcher import Matcher
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.checks import OtherEnginesError
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.records import Delivery
from sluicegate.pipeline.settings.engine_choice import engine_choices
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.redis_cache import open_shared_cache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry


_log = structlog.get_logger(__name__)

_COLLECT_AFTER = (200_000, 50, 100)
"""New objects until the collector looks at them: more than a full window has, 40 of each of 4,096 posts. 20,000 posts left ten objects in
cycles, so there is next to nothing to find. Measured in docs/bench.md."""
_HELD_FOR_S = 2.0  # a hold older than this will not pass within a drain: give its posts back at once
_KEEP_NO_POST = {"input", "login"}  # from its answer; where they do, `publish` holds, too
_LOOK_AGAIN_S = 0.25
_SHOWN = 20
_INTERRUPTED = 130  # as a shell tells of a process that Ctrl-C ended


class Worker:
    """Takes posts, judges them, publishes verdicts; until told to stop.

    Args:
        settings: All of them.
        candidate: Makes the candidate that stands beside the incumbent, where there is one.
    """

    def __init__(
        self, settings: Settings, candidate: Callable[[Settings, Beside], Candidate] | None = None
    ) -> None:
        self._settings = settings
        self._policies = PolicyFile(settings.policy.path, adapters=settings.engine.adapters)
        self._backends: Backends = open_backends(engine_choices(settings.engine))
        self._screen = open_screen(
            settings.screen, self._backends, lambda: self._policies.current.least_wait_seconds
        )
        info = self._backends[None].engine.info
        self._instruments = Instruments.for_engine(
            info.saturating_prompts,
            tracing=open_tracing(settings.tracing),
            most_prompts=info.most_prompts,
        )
        _warn_of_unused_room({name: backend.engine.info for name, backend in self._backends.items()})
        shares = settings.patterns
        self._matcher = (
            Matcher(shares.path, shares.tenants, self._instruments) if shares.path is not None else None
        )
        self._shared_cache = open_shared_cache(settings.cache, self._instruments)
        self._window = Window(
            posts=settings.window.posts,
            size_bytes=settings.window.bytes,
            clock=self._instruments.clock.monotonic,
        )
        self._candidate = candidate(settings, self._beside()) if candidate is not None else None
        tried = self._candidate.policy.adapters if self._candidate is not None else ()
        self._first_answers = FirstAnswers(
            self._backends,
            settings.engine,
            lambda: self._policies.current,
            self._instruments,
            guard=settings.screen.guard,
            tried=tried,
        )
        self._policy_fault: str | None = None
        self._source: Source | None = None
        self._breaker: Breaker | None = None
        self._flow: Flow | None = None
        self._control: ControlTopic | None = None
        self._stop = asyncio.Event()
        self._show()

    def stop(self) -> None:
        """Begin to drain. Safe to call twice, and from a signal handler of the loop."""
        self._stop.set()

    @property
    def stopping(self) -> asyncio.Event:
        """Set once the drain has begun."""
        return self._stop

    async def run(self) -> None:
        """Work until :meth:`stop`, SIGTERM or SIGINT; return once drained.

        Raises:
            StartError: The ops port, the cluster, the input topic or a right on it cannot be had.
            Exception: What ended the worker; the process should exit non-zero and be started again.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._instruments.tracing.close)
            ops = OpsServer(settings.ops, self._registry(), livez=self._livez, readyz=self._readyz)
            try:
                await stack.enter_async_context(ops)
            except OSError as error:
                raise StartError(
                    f"ops.port {settings.ops.port} on {settings.ops.host} cannot be opened ({error.strerror}); "
                    "set SLUICEGATE_OPS__PORT to a free one, or 0"
                ) from error
            _log.info("worker_starting", ops=ops.address, settings_digest=settings.digest)
            engines = {name: backend.engine.info for name, backend in self._backends.items()}
            publisher = await stack.enter_async_context(
                Publisher(settings.kafka, self._instruments.holds, flush_s=settings.drain.flush_s)
            )
            await self._check_cluster(publisher)
            self._flow = flow = await self._open_flow(stack, publisher)
            self._breaker = flow.breaker
            flow.breaker.use(self._policies.current.digest)
            await self._open_control(stack, flow)
            if self._candidate is not None:
                await stack.enter_async_context(self._candidate)
            # Now, and not before: an engine loads for minutes, and others must hear at once by which text the last one ended.
            await self._start_engines(stack)
            if not await self._policy_fits(stack, engines):
                _log.info("worker_stopped")
                return
            self._instruments.metrics.describe(engines, self._policies.current)
            self._source = Source(
                settings,
                window=self._window,
                instruments=self._instruments,
                consume=lambda chunks: self._carry(flow, chunks),
                drain=lambda: self._drain(flow),
            )
            # All that stands now stays, and posts make few cycles: to walk it again and again took a tenth of the CPU time.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_COLLECT_AFTER)
            _log.info(
                "worker_started",
                engine=engines[None].digest,
                screen=self._screen.digest if self._screen is not None else None,
                adapters={name: info.digest for name, info in engines.items() if name is not None},
                policy=self._policies.current.digest,
                ops=ops.address,
            )
            # A worker that cannot answer would take its share of the posts from those that can.
            await self._first_answers.wait(self._stop)
            if not self._stop.is_set():
                await self._take_posts(self._source)
        _log.info("worker_stopped")

    def _registry(self) -> CollectorRegistry:
        """What is scraped."""
        return self._instruments.metrics.registry

    async def _check_cluster(self, publisher: Publisher) -> None:
        """Make sure that the input topic is there, and what is done with topics is allowed."""
        await publisher.require_topic(self._settings.topics.posts)
        await asyncio.to_thread(require_rights, self._settings)

    async def _open_control(self, stack: AsyncExitStack, flow: Flow) -> None:
        """Share facts with the other workers from now on."""
        candidate = self._candidate
        self._control = await stack.enter_async_context(
            ControlTopic(
                self._settings,
                flow.breaker,
                self._instruments.metrics,
                flow.switch,
                flow.servers,
                candidate.hear if candidate is not None else None,
            )
        )

    async def _take_posts(self, source: Source) -> None:
        """Be a member of the group until told to stop."""
        await source.run(self._stop)

    async def _start_engines(self, stack: AsyncExitStack) -> None:
        """Start every adapter's engine: a policy that names another one later finds it warm."""
        for name, backend in self._backends.items():
            try:
                await stack.enter_async_context(backend.engine)
            except EngineError as error:
                if name is None:
                    raise
                raise type(error)(f"engine.adapters.{name}: {error}") from error
        await stack.enter_async_context(self._first_answers)

    async def _policy_fits(self, stack: AsyncExitStack, engines: Mapping[str | None, EngineInfo]) -> bool:
        """Wait for a policy that is for these engines, outside the group; False if told to stop before."""
        fits = await stack.enter_async_context(
            self._policies.watched(
                engines={name: info.digest for name, info in engines.items()},
                changed=self._policy_changed,
                failed=self._policy_refused,
            )
        )
        waits = [asyncio.ensure_future(event.wait()) for event in (fits, self._stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return fits.is_set()

    async def _open_flow(self, stack: AsyncExitStack, publisher: Publisher) -> Flow:
        """The path of posts."""
        settings, window, instruments = self._settings, self._window, self._instruments
        matcher = self._matcher
        if matcher is not None:
            await stack.enter_async_context(matcher.watched())

        def policy() -> Policy:
            return self._policies.current

        shared = self._shared_cache
        if shared is not None:
            await stack.enter_async_context(shared)
        flow = Flow(
            settings,
            self._backends,
            policy,
            window,
            publisher,
            instruments,
            self._screen,
            shared=shared,
            tried=self._candidate,
            matcher=matcher,
        )
        instruments.metrics.cache_entries.set_function(lambda: len(flow.cache))
        return flow

    def _beside(self) -> Beside:
        """What a candidate is told of this worker."""
        rest = EngineRest()

        def is_ready() -> bool:
            if self._candidate is None or self._flow is None:
                return False
            adapters = self._candidate.policy.adapters
            # An engine that the incumbent needs, too, is awaited by both.
            own = adapters - self._policies.current.adapters
            now = self._instruments.clock.monotonic()
            return self._first_answers.has_answered(adapters) and rest.may_act(
                now, at_work=self._flow.are_at_work(own)
            )

        def lost() -> None:
            if self._flow is not None:
                self._flow.recall()

        return Beside(
            incumbent=lambda: self._policies.current,
            engines={name: backend.engine.info.digest for name, backend in self._backends.items()},
            screen=self._screen.digest if self._screen is not None else None,
            is_ready=is_ready,
            lost=lost,
            instruments=self._instruments,
        )

    async def _carry(self, flow: Flow, chunks: AsyncIterator[Sequence[Delivery]]) -> None:
        """Run the flow; its failure is the beginning of the end, which has the drain's budget like any other."""
        try:
            await flow.run(chunks)
        except Exception:
            self.stop()
            raise

    def _policy_refused(self, error: PolicyError) -> None:
        self._policy_fault = str(error)
        self._instruments.metrics.policy_refused(other_engines=isinstance(error, OtherEnginesError))

    def _policy_changed(self, policy: Policy) -> None:
        self._policy_fault = None
        self._instruments.metrics.policy_changed(policy)
        if self._breaker is not None:
            self._breaker.use(policy.digest)

    def _interrupted(self) -> None:
        """Ctrl-C drains; a second one leaves at once, and what was not acknowledged is read again."""
        if self._stop.is_set():
            os._exit(_INTERRUPTED)
        self.stop()

    async def _drain(self, flow: Flow) -> None:
        """Finish what is in flight within the budget; give the rest back unacknowledged.

        Runs before a stop and before partitions are handed over. What only a hold keeps from
        finishing is not waited for.
        """
        self._window.close()
        holds, clock = self._instruments.holds, self._instruments.clock
        deadline = clock.monotonic() + self._settings.drain.finish_s
        drained = asyncio.create_task(self._window.drained())
        try:
            while flow.running and not drained.done() and (now := clock.monotonic()) < deadline:
                lasting = {name for name, hold in holds.current.items() if now - hold.since > _HELD_FOR_S}
                if lasting - _KEEP_NO_POST:
                    break
                await asyncio.wait([drained], timeout=_LOOK_AGAIN_S)
        finally:
            drained.cancel()
        if self._window.posts:
            released = flow.give_back()
            self._instruments.metrics.released.inc(released)
            _log.warning("drain_released", posts=released, holds=sorted(holds.current))

    def _livez(self) -> Report:
        """Is this process worth keeping? A hold of any length is no reason to kill it."""
        source, after_s = self._source, self._settings.stall_after_s
        # What a hold kept waiting has the whole time once it is over.
        head = self._window.stalled(after_s) if self._instruments.holds.quiet_s > after_s else None
        stalled = {f"{head[0]}/{head[1]}"} if head is not None else set()
        stalled |= set(source.stalled if source is not None else ())
        body: dict[str, Any] = {"ok": not stalled}
        if stalled:
            body["stalled"] = sorted(stalled)
        return Report(body["ok"], body)

    def _readyz(self) -> Report:
        """Is it at work, and has each engine answered once? Holds are named, for people; a refused login alone makes it unready."""
        clock = self._instruments.clock
        joined = self._source is not None and self._source.joined
        draining = self._stop.is_set()
        missing = self._first_answers.missing
        refused = "login" in self._instruments.holds.current
        body = {
            "ok": not missing and joined and not draining and not refused,
            "engine": not missing,
            "engines_missing": dict(list(missing.items())[:_SHOWN]),
            "group": joined,
            "policy": self._policy_fault or "in force",
            "draining": draining,
            "screen": self._flow.screen_state if self._flow is not None else "not opened yet",
            "control": self._control.state if self._control is not None else "not read yet",
            "candidate": self._candidate.state if self._candidate is not None else "there is none",
            "breakers_open": sorted(self._breaker.open)[:_SHOWN] if self._breaker is not None else [],
            "holds": {
                name: {"reason": hold.reason, "for_s": round(clock.monotonic() - hold.since, 1)}
                for name, hold in self._instruments.holds.current.items()
            },
        }
        return Report(bool(body["ok"]), body)

    def _show(self) -> None:
        metrics, window = self._instruments.metrics, self._window
        DROPPED.shown_by(metrics.log_lines_dropped.inc)
        metrics.oldest_post.set_function(lambda: self._source.lag_s if self._source else 0)
        metrics.window_posts.set_function(lambda: window.posts)
        metrics.window_bytes.set_function(lambda: window.size_bytes)
        metrics.partitions.set_function(lambda: self._source.partitions if self._source else 0)


def _warn_of_unused_room(engines: Mapping[str | None, EngineInfo]) -> None:
    """Say which engines are sent fewer prompts than they take. That is no error: workers may share a server."""
    for name, info in engines.items():
        if info.useful_prompts < info.saturating_prompts:
            _log.warning(
                "engine_room_unused",
                adapter=name,
                concurrency=info.most_prompts,
                takes=info.saturating_prompts,
                fix=f"leave engine.concurrency out, or set it to {2 * info.saturating_prompts}, unless workers share the server",
            )
