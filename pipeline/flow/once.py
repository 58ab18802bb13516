"""One post through the whole path, in memory: what a worker would have published for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluicegate.engines.backends import open_backend
from sluicegate.pipeline.errors import JudgeError
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.checks import require_engines
from sluicegate.pipeline.records import Partition, Record
from sluicegate.pipeline.settings.engine_choice import engine_choice
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import DeadLetter, Post, Verdict, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


_MARGIN_S = 10.0  # beside the two calls: tokenising a long text, and one more try of a busy engine


async def judge_once(settings: Settings, policy: Policy, post: Post) -> Verdict:
    """Judge one post with an engine that is started for it and stopped after it: its adapter's, where it has one.

    Args:
        settings: As for a worker; nothing of Kafka is used.
        policy: Decides.
        post: The post.

    Raises:
        PolicyError: It is for other engines.
        SettingsError: They lack the adapter that the policy names for this post, or what it needs.
        EngineError: The engine cannot be started.
        JudgeError: It is away, or gave no answer in the time of both calls; or the post is larger
            than ``limits.post_bytes``.
    """
    engine = settings.engine
    adapter = policy.rules(post).adapter
    backend = open_backend(engine_choice(engine, adapter))
    require_engines(policy, {adapter: backend.engine.info.digest}, f"policy {policy.name}")
    patience_s = engine.score_timeout_s + engine.explain_timeout_s + _MARGIN_S
    async with backend.engine:
        health = await backend.engine.health()
        if not health.ok:
            raise JudgeError(
                f"the engine answers no request ({health.detail}); `sluicegate check` shows more"
            )
        instruments = Instruments.for_engine(backend.engine.info.saturating_prompts)
        window = Window(posts=1, size_bytes=settings.window.bytes, clock=instruments.clock.monotonic)
        outlet = _Outlet()
        flow = Flow(settings, {adapter: backend}, lambda: policy, window, outlet, instruments)
        try:
            async with asyncio.timeout(patience_s):
                await flow.run(_once(_Delivery(encode(post))))
        except TimeoutError:
            raise JudgeError(
                f"the engine gave no answer within {patience_s:g} s; `sluicegate check` shows more"
            ) from None
    (event,) = (record.event for record in outlet.records)
    if isinstance(event, DeadLetter):
        raise JudgeError(f"this is no post that can be judged ({event.code}, {event.detail}); shorten it")
    return event.checked


@dataclass(slots=True)
class _Delivery:
    """A record that came from nowhere, and whose acknowledgement nobody waits for."""

    value: bytes | None
    partition: Partition = ("", 0)
    offset: int = 0
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None
    is_current: bool = True

    def acknowledge(self) -> None:
        pass

    def release(self) -> None:
        pass


@dataclass(slots=True)
class _Outlet:
    records: list[Record] = field(default_factory=list)

    async def publish(self, records: Sequence[Record]) -> None:
        self.records += [record for record in records if isinstance(record, Record)]


async def _once(delivery: _Delivery) -> AsyncIterator[list[_Delivery]]:
    yield [delivery]
