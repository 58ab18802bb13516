"""The contract over STUBS of servers; see :mod:`contract.stub_server` for what they are not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from conformance.servers import SglangServer, VllmServer, own_files
from contract.engine_contract import ASTRAY, CALL_FAULTS, ITEM_FAULTS, MARKER, EngineContract, Rig
from contract.stub_server import StubServer
from sluicegate.engines.backends import EngineChoice, open_backend
from support.small_bundle import write_small_bundle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


def _switch(
    stub: StubServer, fault: str, marker: str | None
) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def on() -> AsyncIterator[None]:
        stub.faults[fault] = marker
        yield
        del stub.faults[fault]

    return on


NAMED = {"labels_missing": "the labels are named, so that the server gives each of them"}


class StubContract(EngineContract):
    flavour: ClassVar[str]
    adapter: ClassVar[dict[str, Any]] = {}
    server: ClassVar[type[Any] | None] = None
    """Whose own files the stub takes requests, and answers, by."""

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[Rig]:
        own = own_files()[self.server] if self.server else None
        async with StubServer(self.flavour, models=("small", "small-teens"), own_files=own) as stub:
            bundle = write_small_bundle(tmp_path)
            backend = open_backend(
                EngineChoice("completions", bundle=bundle, url=stub.url, dialect=self.flavour, **self.adapter)
            )
            faults = {*ITEM_FAULTS, ASTRAY} - set(self.cannot)
            switches = {name: _switch(stub, name, MARKER) for name in faults}
            switches |= {name: _switch(stub, name, None) for name in CALL_FAULTS}
            async with backend.engine as engine:
                yield Rig(engine, backend.prompter, backend.categories, switches)


class TestStubOfOpenAICompletions(StubContract):
    flavour = "openai"


class TestStubOfVllm(StubContract):
    flavour = "vllm"
    cannot = NAMED


@pytest.mark.servers
class TestStubThatAnswersByVllmsOwnFiles(StubContract):
    flavour = "vllm"
    cannot = NAMED
    server = VllmServer


class TestStubOfSglang(StubContract):
    flavour = "sglang"
    cannot = NAMED


@pytest.mark.servers
class TestStubThatAnswersInSglangsOwnClasses(StubContract):
    flavour = "sglang"
    server = SglangServer
    cannot = NAMED


class TestStubOfTrtllmServe(StubContract):
    flavour = "trtllm"


class TestStubOfTheChatOfTrtllmServe(StubContract):
    flavour = "trtllm_chat"


class TestAdapterOnAStubOfVllm(StubContract):
    flavour = "vllm"
    cannot = NAMED
    adapter: ClassVar = {"adapter": "teens", "model": "small-teens"}


class TestAdapterOnAStubOfSglang(StubContract):
    flavour = "sglang"
    cannot = NAMED
    adapter: ClassVar = {"adapter": "teens", "lora_path": "small-teens"}


class TestAdapterOnAStubOfTrtllmServe(StubContract):
    flavour = "trtllm"
    adapter: ClassVar = {"adapter": "teens", "model": "small", "lora_path": "/adapters/teens"}


class TestAdapterOnAStubOfTheChatOfTrtllmServe(StubContract):
    flavour = "trtllm_chat"
    adapter: ClassVar = {"adapter": "teens", "model": "small", "lora_path": "/adapters/teens"}
