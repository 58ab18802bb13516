"""The contract over a STAND-IN for TensorRT-LLM; see :mod:`conformance.stand_in` for what it is not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from conformance.brain import Brain
from conformance.stand_in import StandIn
from contract.engine_contract import ASTRAY, CALL_FAULTS, ITEM_FAULTS, MARKER, EngineContract, Rig
from sluicegate.engines.backends import EngineChoice, open_backend, tensorrt_llm
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


def _switch(
    stand_in: StandIn, fault: str, marker: str | None
) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def on() -> AsyncIterator[None]:
        stand_in.brain.faults[fault] = marker
        yield
        del stand_in.brain.faults[fault]

    return on


class StandInContract(EngineContract):
    runtime: ClassVar[str]
    serving: ClassVar[Mapping[str, Any]] = {}
    quirks: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    async def rig(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
        monkeypatch.setattr(
            tensorrt_llm, "_HEALTH_S", 1.0
        )  # what hangs is waited for in each of these classes
        stand_in = StandIn(Brain(**self.quirks))
        bundle = write_trtllm_bundle(tmp_path / "bundle", self.runtime, **self.serving)
        backend = open_backend(EngineChoice("tensorrt_llm", bundle=bundle))
        switches = {
            name: _switch(stand_in, name, MARKER)
            for name in (*ITEM_FAULTS, ASTRAY)
            if name not in self.cannot
        }
        switches |= {name: _switch(stand_in, name, None) for name in CALL_FAULTS}
        with stand_in.installed(tmp_path / "site"):
            async with backend.engine as engine:
                yield Rig(engine, backend.prompter, backend.categories, switches)
        assert stand_in.disagreements == []
        assert stand_in.unsettled() == []
        assert all(llm.closed for llm in stand_in.llms)


class TestStandInOfACompiledEngine(StandInContract):
    runtime = "engine"
    cannot: ClassVar[Mapping[str, str]] = {"labels_missing": "a row of logits holds every label"}


class TestStandInOfACompiledEngineThatIsGuided(StandInContract):
    runtime = "engine"
    serving: ClassVar[Mapping[str, Any]] = {"guided_decoding": True, "tokenizer_folder": "hf"}
    quirks: ClassVar[Mapping[str, Any]] = {"spare_rows": 1, "keeps_end": False}
    cannot: ClassVar[Mapping[str, str]] = {"labels_missing": "a row of logits holds every label"}


class TestStandInOfThePyTorchRuntime(StandInContract):
    runtime = "pytorch"


class TestStandInOfAPyTorchRuntimeThatIsGuided(StandInContract):
    runtime = "pytorch"
    serving: ClassVar[Mapping[str, Any]] = {"guided_decoding": True, "tokenizer_folder": "hf"}
