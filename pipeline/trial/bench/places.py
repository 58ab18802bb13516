"""Places that a load is sent to: a cluster with its running workers, or one embedded on this machine."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import aiohttp

from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.pipeline.trial.bench.figures import MOST_BYTES
from sluicegate.pipeline.trial.local import local_system

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
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SCRAPE_TIMEOUT_S)) as session:
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
    with tempfile.TemporaryDirectory(prefix="sluicegate-bench-profile-") as folder:
        if fake_profile is None:
            fake_profile = Path(folder, "h100.json")
            fake_profile.write_text(_H100, encoding="utf-8")
        settings = {"engine.backend": engine, "engine.fake_profile": str(fake_profile.absolute())}
        async with local_system("bench", settings) as system:

            async def scrape() -> list[str]:
                """The metrics of the only worker."""
                return [await system.worker.metrics()]

            yield LoadPlace(
                system.kafka, system.topics, scrape, system.worker.check, _EMBEDDED_BACKLOG_BYTES, _EMBEDDED
            )


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
