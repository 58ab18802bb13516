"""Places that a load is sent to: a cluster with its running workers, or one embedded on this machine."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import aiohttp

from sluicegate.pipeline.errors import DemoError, PipelineError
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.pipeline.trial.bench.figures import MOST_BYTES
from sluicegate.pipeline.trial.demo.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

_SCRAPE_TIMEOUT_S = 2.0
_CHUNK_BYTES = 65_536
_H100 = '{"preset": "h100"}'
# The embedded broker keeps about 5 MB of each of four partitions.
_EMBEDDED_BACKLOG_BYTES = 10_000_000
# Faust asks for posts with a wait of 1.5 s, and the mock cluster lets an empty fetch have all of it.
_EMBEDDED = "the embedded broker lets a fetch wait for up to 1.5 s where Kafka would not: this is in `topic`"


@dataclass(frozen=True, slots=True)
class LoadPlace:
    """Where posts go and verdicts come from."""

    kafka: KafkaSettings
    topics: TopicSettings
    scrape: Callable[[], Awaitable[list[str]]]
    """The text of each worker's metrics; empty for one that does not answer. No texts: no worker is known."""
    check: Callable[[], None] = lambda: None
    """Raises if the place is no more."""
    most_backlog_bytes: float = float("inf")
    """More than this may be forgotten before it is read."""
    remark: str = ""
    """What it does to the figures."""


@asynccontextmanager
async def cluster(
    kafka: KafkaSettings, topics: TopicSettings, metrics: Sequence[str]
) -> AsyncIterator[LoadPlace]:
    """A cluster as the settings name it.

    Args:
        kafka: How to reach it.
        topics: Its topics.
        metrics: URLs of its workers' metrics.
    """
    async with _session() as session:
        yield LoadPlace(kafka, topics, partial(_fetch_all, session, metrics))


@asynccontextmanager
async def embedded(
    engine: Literal["llama_cpp", "fake"], fake_profile: Path | None
) -> AsyncIterator[LoadPlace]:
    """A broker and a worker of this machine's own, ended with the block.

    Args:
        engine: Of the worker.
        fake_profile: How the fake engine behaves; without one it imitates an H100.

    Raises:
        DemoError: The worker did not start; the message names its log, which is kept.
        StartError: The broker did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="sluicegate-bench-"))
    keep = False
    try:
        if fake_profile is None:
            fake_profile = folder / "h100.json"
            fake_profile.write_text(_H100, encoding="utf-8")
        topics = TopicSettings()
        async with EmbeddedBroker([*topics.model_dump().values()]) as broker, _session() as session:
            settings = _settings(broker.address, engine, fake_profile)
            async with WorkerProcess(settings, folder / "worker.log") as worker:
                await worker.ready(session)
                kafka = KafkaSettings(bootstrap_servers=broker.address)
                scrape = partial(_of_worker, worker, session)
                yield LoadPlace(kafka, topics, scrape, worker.check, _EMBEDDED_BACKLOG_BYTES, _EMBEDDED)
                keep = _has_ended(worker)
    except PipelineError:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _settings(address: str, engine: str, fake_profile: Path) -> dict[str, str]:
    return {
        "kafka.bootstrap_servers": address,
        "engine.backend": engine,
        "engine.fake_profile": str(fake_profile.absolute()),
        "ops.host": "127.0.0.1",
        "ops.port": "0",
        # What is in flight when a run is cut short need not be finished.
        "drain.finish_s": "5",
        "drain.flush_s": "3",
        "drain.leave_s": "5",
        "drain.budget_s": "15",
    }


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SCRAPE_TIMEOUT_S))


def _has_ended(worker: WorkerProcess) -> bool:
    """True if a worker ended by itself: its log is looked for then."""
    try:
        worker.check()
    except DemoError:
        return True
    return False


async def _of_worker(worker: WorkerProcess, session: aiohttp.ClientSession) -> list[str]:
    return [await worker.metrics(session)]


async def _fetch_all(session: aiohttp.ClientSession, urls: Sequence[str]) -> list[str]:
    return [await _fetch(session, url) for url in urls]


async def _fetch(session: aiohttp.ClientSession, url: str) -> str:
    """The text at a URL; empty if there is none in time, or more of it than metrics are long."""
    body = bytearray()
    try:
        async with session.get(url) as answer:
            if answer.status != 200:
                return ""
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > MOST_BYTES:
                    return ""
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return ""
    return body.decode("utf-8", "replace")
