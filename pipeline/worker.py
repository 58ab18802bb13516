"""The worker: one process of the consumer group, from start to drained exit."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.engines.backends import open_backend
from sluicegate.pipeline.check.cluster_probe import require_rights
from sluicegate.pipeline.engine_choice import engine_choice
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.flow import Flow
from sluicegate.pipeline.instruments import Instruments
from sluicegate.pipeline.ops import OpsServer, Report
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.publisher import Publisher
from sluicegate.pipeline.shared_cache import open_shared_cache
from sluicegate.pipeline.source_faust import FaustSource
from sluicegate.pipeline.tracing import open_tracing
from sluicegate.pipeline.window import Window

if TYPE_CHECKING:
    from sluicegate.pipeline.settings import Settings

_log = structlog.get_logger(__name__)

_HELD_FOR_S = 2.0  # a hold older than this will not pass within a drain: give its posts back at once
_LOOK_AGAIN_S = 0.25
_INTERRUPTED = 130  # as a shell tells of a process that Ctrl-C ended


class Worker:
    """Takes posts, judges them, publishes verdicts; until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._policies = PolicyFile(settings.policy.path)
        self._backend = open_backend(engine_choice(settings.engine))
        self._instruments = Instruments.for_engine(
            self._backend.engine.info.saturating_prompts, tracing=open_tracing(settings.tracing)
        )
        self._shared_cache = open_shared_cache(settings.cache, self._instruments)
        self._window = Window(
            posts=settings.window.posts,
            size_bytes=settings.window.bytes,
            clock=self._instruments.clock.monotonic,
        )
        self._engine_ready = False
        self._source: FaustSource | None = None
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
            Exception: What ended the worker; the process should exit non-zero and be started anew.
        """
        settings, info = self._settings, self._backend.engine.info
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._instruments.tracing.close)
            ops = OpsServer(
                settings.ops, self._instruments.metrics.registry, livez=self._livez, readyz=self._readyz
            )
            try:
                await stack.enter_async_context(ops)
            except OSError as error:
                raise StartError(
                    f"ops.port {settings.ops.port} on {settings.ops.host} cannot be opened ({error.strerror}); "
                    "set SLUICEGATE_OPS__PORT to a free one, or 0"
                ) from error
            _log.info("worker_starting", ops=ops.address, settings_digest=settings.digest)
            await stack.enter_async_context(self._backend.engine)
            publisher = await stack.enter_async_context(
                Publisher(settings.kafka, self._instruments.holds, flush_s=settings.drain.flush_s)
            )
            await publisher.require_topic(settings.topics.posts)
            await asyncio.to_thread(require_rights, settings)
            self._engine_ready = True
            flow = Flow(
                settings,
                self._backend,
                lambda: self._policies.current,
                self._window,
                publisher,
                self._instruments,
            )
            if self._shared_cache is not None:
                flow.cache.shared = await stack.enter_async_context(self._shared_cache)
            self._instruments.metrics.cache_entries.set_function(lambda: len(flow.cache))
            self._instruments.metrics.describe(self._backend.engine.info, self._policies.current)
            await stack.enter_async_context(
                self._policies.watched(
                    changed=self._instruments.metrics.policy_changed,
                    failed=lambda _error: self._instruments.metrics.policy_reload_failed.set(1),
                )
            )
            self._source = FaustSource(
                settings,
                consume=flow.run,
                drain=lambda: self._drain(flow),
                reopen=self._window.reopen,
            )
            _log.info(
                "worker_started", engine=info.digest, policy=self._policies.current.digest, ops=ops.address
            )
            await self._source.run(self._stop)
        _log.info("worker_stopped")

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
            while not drained.done() and (now := clock.monotonic()) < deadline:
                if any(now - hold.since > _HELD_FOR_S for hold in holds.current.values()):
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
        source, holds = self._source, self._instruments.holds
        fault = source.coordinator_fault if source is not None else None
        stalled = None if holds else self._window.stalled(self._settings.stall_after_s)
        body: dict[str, Any] = {"ok": fault is None and stalled is None}
        if fault is not None:
            body["coordinator"] = fault
        if stalled is not None:
            body["stalled"] = [f"{stalled[0]}/{stalled[1]}"]
        return Report(body["ok"], body)

    def _readyz(self) -> Report:
        """Is it at work? Holds are named, for people; they do not make it unready."""
        clock = self._instruments.clock
        joined = self._source is not None and self._source.joined
        draining = self._stop.is_set()
        body = {
            "ok": self._engine_ready and joined and not draining,
            "engine": self._engine_ready,
            "group": joined,
            "draining": draining,
            "holds": {
                name: {"reason": hold.reason, "for_s": round(clock.monotonic() - hold.since, 1)}
                for name, hold in self._instruments.holds.current.items()
            },
        }
        return Report(bool(body["ok"]), body)

    def _show(self) -> None:
        metrics, window = self._instruments.metrics, self._window
        metrics.oldest_post.set_function(window.oldest_age_s)
        metrics.window_posts.set_function(lambda: window.posts)
        metrics.window_bytes.set_function(lambda: window.size_bytes)
        metrics.partitions.set_function(lambda: self._source.partitions if self._source else 0)
