"""Fixtures: one vLLM at a time, for all tests that want the same; models are made once and kept in the cache."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from agreement.study import score
from sluicegate.engines.backends import EngineChoice, open_backend
from support.kafka import cache_folder
from vllm_cpu.checkpoint import write_adapter, write_base, write_guard
from vllm_cpu.real_vllm import ADAPTER, texts
from vllm_cpu.server import VllmServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluicegate.schemas import Scores


@dataclass
class Servers:
    """The vLLM that runs, if one does."""

    log: Path
    _running: dict[Path, VllmServer] = field(default_factory=dict)

    def of(self, bundle: Path, adapters: dict[str, Path] | None = None) -> VllmServer:
        """The server of a bundle. Another bundle's is ended first: each takes some gigabytes."""
        if bundle not in self._running:
            self.stop()
            self._running[bundle] = VllmServer(bundle, self.log, adapters)
        server = self._running[bundle]
        if not server.running:
            print(f"vLLM starts, with {bundle.name}: 3 minutes, more on a busy machine", flush=True)
            server.start()
        return server

    def stop(self) -> None:
        """End it."""
        for server in self._running.values():
            server.stop()
        self._running.clear()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers of this session; the last one ends with it."""
    found = Servers(tmp_path_factory.mktemp("vllm") / "server.log")
    yield found
    found.stop()


@pytest.fixture(scope="session")
def guard_bundle(cpu_bundle: Path) -> Path:
    """The merged guard, as a checkpoint."""
    return write_guard(cache_folder() / "vllm-cpu" / f"guard-{cpu_bundle.name}", cpu_bundle)


@pytest.fixture(scope="session")
def base_bundle(cpu_base_bundle: Path) -> Path:
    """The base, as a checkpoint."""
    return write_base(cache_folder() / "vllm-cpu" / f"base-{cpu_base_bundle.name}", cpu_base_bundle)


@pytest.fixture(scope="session")
def adapter_bundle(cpu_bundle: Path) -> Path:
    """The shipped adapter, as vLLM loads it."""
    return write_adapter(cache_folder() / "vllm-cpu" / f"adapter-{cpu_bundle.name}", cpu_bundle)


@pytest.fixture(scope="session")
def llama_scores(cpu_bundle: Path) -> list[Scores | None]:
    """What llama.cpp makes of the texts."""
    return asyncio.run(score(open_backend(EngineChoice("llama_cpp", bundle=cpu_bundle)), texts()))


@pytest.fixture
def guard(servers: Servers, guard_bundle: Path) -> VllmServer:
    """A server of the merged guard."""
    return servers.of(guard_bundle)


@pytest.fixture
def base(servers: Servers, base_bundle: Path, adapter_bundle: Path) -> VllmServer:
    """A server of the base, which has the adapter beside it."""
    return servers.of(base_bundle, {ADAPTER: adapter_bundle / "adapter"})
