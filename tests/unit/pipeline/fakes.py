"""What the pipeline's unit tests stand on: records in memory, an outlet that remembers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter
from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.flow.work import Work
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Delivery, Record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.cache import SharedAssessments
from sluicegate.schemas import CATEGORIES, DeadLetter, MadeVerdict, Verdict, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sluicegate.engines.backends import Backends
    from sluicegate.engines.bundle.calibration import Calibration
    from sluicegate.engines.protocol import Engine
    from sluicegate.engines.screen import Screener
    from sluicegate.engines.text.prompting import PassageFinder
    from sluicegate.pipeline.flow.tried import TriedJudge


class HandClock(Clock):
    """A clock that is moved by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass(slots=True)
class MemoryDelivery:
    """A record in memory; remembers what became of it."""

    offset: int
    value: bytes | None = b""
    partition: tuple[str, int] = ("posts", 0)
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = 1_700_000_000_000
    is_current: bool = True
    log: list[tuple[str, int]] = field(default_factory=list)

    def acknowledge(self) -> None:
        self.log.append(("acknowledged", self.offset))

    def release(self) -> None:
        self.log.append(("released", self.offset))


@dataclass
class MemoryOutlet:
    """Keeps what is published. ``gate`` closed holds every publish."""

    records: list[Record] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def publish(self, records: Sequence[Record]) -> None:
        await self.gate.wait()
        self.records += records

    @property
    def verdicts(self) -> list[Verdict]:
        """Those that were sent, as the public model; each was encoded as that is."""
        sent = [one for one in self.records if isinstance(one.event, MadeVerdict)]
        found = [one.event.checked for one in sent if isinstance(one.event, MadeVerdict)]
        assert [one.value for one in sent] == [encode(verdict) for verdict in found]
        return found

    @property
    def dead_letters(self) -> list[DeadLetter]:
        return [record.event for record in self.records if isinstance(record.event, DeadLetter)]

    def verdict(self, post_id: str) -> Verdict:
        (found,) = [verdict for verdict in self.verdicts if verdict.post_id == post_id]
        return found


async def singly(deliveries: AsyncIterator[Delivery]) -> AsyncIterator[Sequence[Delivery]]:
    """Each delivery in a chunk of its own."""
    async for delivery in deliveries:
        yield [delivery]


class Bench:
    """A flow over a fake engine, fed from a list."""

    def __init__(
        self,
        *,
        engine: Engine | None = None,
        profile: FakeProfile | None = None,
        policy: dict[str, Any] | None = None,
        tree: dict[str, Any] | None = None,
        adapters: Mapping[str, Backend] | None = None,
        calibration: Calibration | None = None,
        screen: Screener | None = None,
        passages: PassageFinder | None = None,
        tried: TriedJudge | None = None,
    ) -> None:
        profile = profile or FakeProfile()
        self.settings = Settings(**(tree or {}))
        self.engine = engine or FakeEngine(profile)
        self.backend = Backend(
            self.engine, fake_prompter(profile), CATEGORIES, calibration, passages=passages
        )
        self.backends: Backends = dict([(None, self.backend), *(adapters or {}).items()])
        self.instruments = Instruments.for_engine(self.engine.info.saturating_prompts)
        self.policy = Policy.parse(policy) if policy else Policy.load(None)
        self.window = Window(
            posts=self.settings.window.posts,
            size_bytes=self.settings.window.bytes,
            clock=self.instruments.clock.monotonic,
        )
        self.outlet = MemoryOutlet()
        self.log: list[tuple[str, int]] = []
        self._screen = screen
        self._tried = tried
        self.flow = self.open_flow()

    def open_flow(self, shared: SharedAssessments | None = None) -> Flow:
        return Flow(
            self.settings,
            self.backends,
            lambda: self.policy,
            self.window,
            self.outlet,
            self.instruments,
            self._screen,
            shared=shared,
            tried=self._tried,
        )

    def share_cache(self, other: Bench) -> None:
        """Know from now on what another bench knows of exact prompts."""
        self.flow.cache = other.flow.cache
        self.flow.work = Work(other.flow.cache, self.flow.work._texts)

    def delivery(self, value: bytes | dict[str, Any] | None, offset: int) -> MemoryDelivery:
        raw = orjson.dumps(value) if isinstance(value, dict) else value
        return MemoryDelivery(offset, raw, log=self.log)

    async def run(self, values: Sequence[bytes | dict[str, Any] | None]) -> None:
        """Carry all values, one chunk, to their end."""

        async def source() -> AsyncIterator[list[MemoryDelivery]]:
            yield [self.delivery(value, offset) for offset, value in enumerate(values)]

        async with asyncio.timeout(60):
            await self.flow.run(source())

    @property
    def acknowledged(self) -> list[int]:
        return [offset for what, offset in self.log if what == "acknowledged"]

    def metric(self, name: str, /, **labels: str) -> float:
        return self.instruments.metrics.registry.get_sample_value(f"sluicegate_{name}", labels) or 0.0
