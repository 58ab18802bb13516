"""What a server is asked about itself, over STUBS of servers, and over vLLM's and SGLang's own files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.servers import SglangServer, VllmServer, own_files
from contract.stub_server import StubServer
from contract.wires import CONTEXT_TOKENS, WIRES, Completions, Generated, RefusedError, Sglang, Vllm
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.promises import STRANGER, Promise, Promises
from sluicegate.engines.errors import EngineSetupError
from support.small_bundle import write_small_bundle
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROMISES = ("scores", "exact", "tokens", "list", "cached", "shape", "too_long", "strangers")
MADE = {
    "openai": {"scores", "tokens", "cached", "too_long"},
    "vllm": set(PROMISES),
    "trtllm": {"scores", "tokens", "list", "cached", "too_long"},
    "trtllm_chat": {"scores", "tokens", "cached", "too_long"},
    "sglang": set(PROMISES),
}
"""What the stub of each dialect keeps; a stub reports cached tokens wherever a server may."""


async def asked(stub: StubServer, folder: Path, **choice: Any) -> dict[str, Promise]:
    """All promises of a stub, as they are by name."""
    bundle = write_small_bundle(folder / "bundle")
    changes = {
        "dialect": stub.flavour,
        "bundle": bundle,
        "url": choice.pop("url", None) or stub.url,
        **choice,
    }
    backend = open_backend(EngineChoice("completions", **changes))
    async with backend.engine:
        return {promise.name: promise for promise in await Promises(backend).ask()}


def broken(found: Mapping[str, Promise]) -> list[str]:
    return [name for name, promise in found.items() if promise.kept is False]


@pytest.mark.parametrize("flavour", MADE)
async def test_a_server_that_does_as_its_dialect_says_keeps_every_promise(
    flavour: str, tmp_path: Path
) -> None:
    async with StubServer(flavour) as stub:
        found = await asked(stub, tmp_path)
    assert tuple(found) == PROMISES
    assert {name for name, promise in found.items() if promise.kept} == MADE[flavour], found
    assert broken(found) == []


async def test_a_worker_that_sends_one_prompt_at_a_time_can_ask_for_all(tmp_path: Path) -> None:
    async with StubServer("vllm") as stub:
        found = await asked(stub, tmp_path, concurrency=1)
    assert all(promise.kept for promise in found.values()), found


@pytest.mark.servers
@pytest.mark.parametrize(("flavour", "server"), [("vllm", VllmServer), ("sglang", SglangServer)])
async def test_a_stub_that_answers_by_the_servers_own_files_keeps_every_promise(
    flavour: str, server: Any, tmp_path: Path
) -> None:
    async with StubServer(flavour, own_files=own_files()[server]) as stub:
        found = await asked(stub, tmp_path)
    assert all(promise.kept for promise in found.values()), found


class OldVllm(Vllm):
    """Of a time before tokens could be named."""

    def _chosen(self, body: Mapping[str, Any], one: Generated) -> dict[int, float]:
        return one.chosen(body["logprobs"])


class WithoutGrammar(Vllm):
    def grammar(self, body: Mapping[str, Any]) -> str:
        return ""


class ReadsATemplate(Vllm):
    """Reads the same few tokens, whatever it is sent."""

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        reply = super().answer(body, generated)
        return {**reply, "usage": {**reply["usage"], "prompt_tokens": 24}}


class WithoutCache(Vllm):
    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        reply = super().answer(body, generated)
        return {**reply, "usage": {**reply["usage"], "prompt_tokens_details": None}}


class MixesLists(Vllm):
    """Answers a list in an order of its own."""

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        return super().answer(body, [*generated[1:], generated[0]])


class OddWords(Vllm):
    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        if any(len(prompt) >= CONTEXT_TOKENS for prompt in self.prompts(body)):
            raise RefusedError("that is more than I can read")
        super().check(body, models)


class AnswersAnyName(Vllm):
    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        super().check(body, (*models, STRANGER))


class CutsPrompts(Sglang):
    """SGLang with ``--allow-auto-truncate``."""

    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        del body, models

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        cut = [replace(one, prompt=one.prompt[: CONTEXT_TOKENS - 1]) for one in generated]
        return super().answer(body, cut)


@pytest.mark.parametrize(
    ("wire", "name", "fix"),
    [
        (OldVllm, "exact", "vLLM from 0.32"),
        (WithoutGrammar, "shape", "structured_outputs"),
        (ReadsATemplate, "tokens", "engine.dialect"),
        (WithoutCache, "cached", "--enable-prompt-tokens-details"),
        (MixesLists, "list", "engine.concurrency: 1"),
        (OddWords, "too_long", f"a context of {512 + 16 + 64} tokens"),
        (AnswersAnyName, "strangers", "a server of its own"),
        (CutsPrompts, "too_long", f"a context of {512 + 16 + 64} tokens"),
    ],
)
async def test_a_broken_promise_is_told_by_its_name_with_the_fix(
    wire: type[Completions], name: str, fix: str, tmp_path: Path
) -> None:
    async with StubServer("sglang" if issubclass(wire, Sglang) else "vllm") as stub:
        stub.wire = wire()
        found = await asked(stub, tmp_path)
    expected = [name, "strangers"] if wire is CutsPrompts else [name]  # its stub checks nothing at all
    assert broken(found) == expected, found
    assert fix in (found[name].fix or "")


@pytest.mark.parametrize(
    ("fault", "said"),
    [("astray", "the labels hold at least 0.000"), ("garble", "4 of 4 prompts got no score")],
)
async def test_a_server_with_another_model_breaks_its_first_promise(
    fault: str, said: str, tmp_path: Path
) -> None:
    async with StubServer("vllm", faults={fault: "Safety:"}) as stub:
        found = await asked(stub, tmp_path)
    assert said in found["scores"].said
    assert "weights of this bundle" in (found["scores"].fix or "")


async def test_a_server_that_is_away_breaks_them_all_in_a_sentence(tmp_path: Path) -> None:
    found = await asked(StubServer("openai"), tmp_path, url="http://127.0.0.1:1")
    assert broken(found) == ["scores", "tokens", "cached", "too_long"]
    assert all("cannot be reached" in found[name].said for name in broken(found))


async def test_guided_decoding_is_a_promise_where_the_bundle_has_it(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path / "guided", "pytorch", guided_decoding=True, tokenizer_folder="hf")
    async with StubServer("trtllm_chat") as stub:
        stub.wire.guided = True  # type: ignore[attr-defined]  # of this wire
        found = await asked(stub, tmp_path, bundle=bundle)
    assert found["shape"].kept


@pytest.mark.parametrize("flavour", ["vllm", "sglang"])
@pytest.mark.parametrize("passed_over", [False, True])
async def test_an_adapter_that_the_server_passes_over_is_found(
    flavour: str, passed_over: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if passed_over:
        monkeypatch.setattr(WIRES[flavour], "named", lambda _, body: None)
    bundle = write_small_bundle(tmp_path / "bundle")
    named: dict[str, Any] = {"model": "teens"} if flavour == "vllm" else {"lora_path": "teens"}
    async with StubServer(flavour, models=("small", "teens")) as stub:
        common: dict[str, Any] = {"bundle": bundle, "url": stub.url, "dialect": flavour}
        own = open_backend(EngineChoice("completions", **common))
        teens = open_backend(EngineChoice("completions", adapter="teens", **common, **named))
        async with teens.engine:
            found = {str(promise.name): promise for promise in await Promises(teens, base=own).ask()}
    assert tuple(found) == (*PROMISES, "adapter")
    assert found["adapter"].kept is not passed_over
    assert broken(found) == ["adapter"] * passed_over


def test_an_engine_without_a_server_is_asked_nothing(tmp_path: Path) -> None:
    with pytest.raises(EngineSetupError, match=r"say engine\.backend: completions"):
        Promises(open_backend(EngineChoice("fake")))


def test_a_limit_without_room_for_a_text_is_a_wrong_setting(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "bundle")
    choice = EngineChoice("completions", bundle=bundle, url="http://127.0.0.1:1", dialect="vllm")
    backend = open_backend(choice)
    backend.prompter.max_prompt_tokens = 1
    with pytest.raises(EngineSetupError, match="no prompt of our own fits"):
        Promises(backend)
