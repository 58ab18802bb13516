"""Pytest fixtures for your own tests: a broker, a worker with the fake engine, and a client. No Java, no model.

Say ``pytest_plugins = ["sluicegate.testing"]`` in your top ``conftest.py``; docs/client.md has
examples. Broker and worker start once a session, when a test first asks for them.

PYTEST_DONT_REWRITE: there are no assertions here, and a conftest may import this module first.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sluicegate.client import Client
    from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings

__all__ = [
    "LocalBroker",
    "LocalWorker",
    "sluicegate_broker",
    "sluicegate_client",
    "sluicegate_policy",
    "sluicegate_profile",
    "sluicegate_worker",
]


@dataclass(frozen=True, slots=True)
class LocalBroker:
    """An embedded broker: librdkafka's mock cluster, in memory, on a loopback port."""

    kafka: KafkaSettings
    topics: TopicSettings
    """The default names; every topic exists, with four partitions."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead a program of yours to this broker."""
        return {
            "SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            **{
                f"SLUICEGATE_TOPICS__{name.upper()}": topic
                for name, topic in self.topics.model_dump().items()
            },
        }


@dataclass(frozen=True, slots=True)
class LocalWorker:
    """A ``sluicegate worker`` with the fake engine, in a process of its own."""

    log: Path
    """File with its log, JSON lines."""
    _faults: Path

    @contextmanager
    def faults(self, **switches: Any) -> Iterator[None]:
        """Make the engine fail while the context lasts, such as ``faults(slow={"delay_s": 3})``.

        The switches are those of docs/client.md. They act on every test that runs meanwhile.
        """
        self._switch(switches)
        try:
            yield
        finally:
            self._switch({})

    def _switch(self, switches: dict[str, Any]) -> None:
        from sluicegate.engines.files import replace_file  # noqa: PLC0415 - only who switches pays for it

        replace_file(self._faults, json.dumps(switches).encode())  # the engine may be reading


@pytest.fixture(scope="session")
def sluicegate_profile() -> dict[str, Any]:
    """The fake engine's profile, such as ``{"rules": {"attack": "unsafe", "": "safe"}}``. Override it in your conftest."""
    return {}


@pytest.fixture(scope="session")
def sluicegate_policy() -> Path | None:
    """The worker's policy file; None is the built-in policy. Override it in your conftest."""
    return None


@pytest.fixture(scope="session")
def sluicegate_broker() -> Iterator[LocalBroker]:
    """A broker for the session. Tests share its topics: give every post an id of its own."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - only who asks for a broker pays for it

    from sluicegate.pipeline.kafka.embedded import EmbeddedBroker  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings  # noqa: PLC0415 - the same

    topics = TopicSettings()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(EmbeddedBroker([*topics.model_dump().values()])) as broker,
    ):
        yield LocalBroker(KafkaSettings(bootstrap_servers=broker.address), topics)


@pytest.fixture(scope="session")
def sluicegate_worker(
    sluicegate_broker: LocalBroker,
    sluicegate_profile: dict[str, Any],
    sluicegate_policy: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalWorker]:
    """A worker for the session, ready, on the session's broker."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - only who asks for a worker pays for it

    folder = tmp_path_factory.mktemp("sluicegate")
    worker = LocalWorker(folder / "worker.log", folder / "faults.json")
    profile = folder / "profile.json"
    profile.write_text(json.dumps({**sluicegate_profile, "faults_file": str(folder / "faults.json")}))
    settings = {
        "kafka.bootstrap_servers": sluicegate_broker.kafka.bootstrap_servers,
        "engine.backend": "fake",
        "engine.fake_profile": str(profile),
        "ops.port": "0",
        # Nothing is worth a long drain when the tests are over.
        "drain.finish_s": "2",
        "drain.flush_s": "2",
        "drain.leave_s": "4",
        "drain.budget_s": "10",
    }
    if sluicegate_policy is not None:
        settings["policy.path"] = str(sluicegate_policy)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_ready_worker(settings, worker.log)),
    ):
        yield worker


@pytest.fixture
def sluicegate_client(sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker) -> Client:  # noqa: ARG001 - it must run
    """A client of the session's worker, not yet open: enter it in your own event loop, ``async with sluicegate_client:``."""
    from sluicegate.client import Client  # noqa: PLC0415 - only who asks for a client pays for it

    return Client(sluicegate_broker.kafka, sluicegate_broker.topics)


@asynccontextmanager
async def _ready_worker(settings: dict[str, str], log: Path) -> AsyncIterator[None]:
    from sluicegate.pipeline.trial.local import WorkerProcess  # noqa: PLC0415 - only who asks for a worker pays for it

    async with WorkerProcess(settings, log) as worker:
        await worker.ready()
        yield
