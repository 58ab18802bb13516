from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

import pytest

from contract.engine_contract import ASTRAY, CALL_FAULTS, ITEM_FAULTS, MARKER, EngineContract, Rig
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.fake import FakeEngine, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager


def _switch(
    engine: FakeEngine, name: str, marker: str | None
) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def on() -> AsyncIterator[None]:
        setattr(engine.faults, name, Fault(marker=marker))
        yield
        setattr(engine.faults, name, None)

    return on


class TestFake(EngineContract):
    cannot: ClassVar = {ASTRAY: "it has no token but the labels"}

    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        backend = open_backend(EngineChoice("fake"))
        engine = backend.engine
        assert isinstance(engine, FakeEngine)
        switches = {name: _switch(engine, name, MARKER) for name in ITEM_FAULTS}
        switches |= {name: _switch(engine, name, None) for name in CALL_FAULTS}
        async with engine:
            yield Rig(engine, backend.prompter, backend.categories, switches)
