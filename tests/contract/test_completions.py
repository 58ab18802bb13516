"""What the completions engine does beyond the contract, over STUBS of servers."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from contract.engine_contract import MARKER, TIMEOUT_S, Rig, scored, some_prompts
from contract.stub_server import StubServer
from contract.wires import CONTEXT_TOKENS, Trtllm
from sluicegate.engines.backends import EngineChoice, http_client, open_backend, open_backends
from sluicegate.engines.errors import EngineSetupError, EngineUnavailable
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored
from sluicegate.pipeline.flow.adapter_state import CallOutcome, told_by
from sluicegate.pipeline.flow.server_state import ServerState
from sluicegate.schemas import FailureCode, Post
from support.small_bundle import small_manifest, write_small_bundle
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[tuple[Rig, StubServer]]]:
    """Start a stub and the engine before it."""

    @asynccontextmanager
    async def started(flavour: str = "openai", **settings: Any) -> AsyncIterator[tuple[Rig, StubServer]]:
        manifest = small_manifest()
        manifest["limits"]["max_prompt_tokens"] = (
            2 * CONTEXT_TOKENS
        )  # the server's context is the tighter one
        bundle = write_small_bundle(tmp_path / "bundle", manifest)
        async with StubServer(flavour) as stub:
            settings = {"url": stub.url, "dialect": flavour, "bundle": bundle, **settings}
            backend = open_backend(EngineChoice("completions", **settings))
            async with backend.engine as engine:
                yield Rig(engine, backend.prompter, backend.categories), stub

    return started


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again(start: Any, status: int) -> None:
    async with start() as (rig, stub):
        stub.statuses = [status, status]
        scored(await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S))
        assert len(stub.requests) == 3


@pytest.mark.parametrize("fault", ["crash", 502, 504])
async def test_what_a_server_may_have_died_of_is_not_sent_again(start: Any, fault: Any) -> None:
    async with start() as (rig, stub):
        stub.restart_s = 0.0
        if fault == "crash":
            stub.faults = {"crash": None}
        else:
            stub.statuses = [fault] * 3
        with pytest.raises(EngineUnavailable) as raised:
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert not raised.value.refused
        assert len(stub.requests) == 1


async def test_vllm_tells_which_process_answers_and_others_tell_nothing(start: Any) -> None:
    async with start("vllm", model="small") as (rig, stub):
        assert await rig.engine.generation() is None  # an older one, or a proxy without the page
        stub.tells = True
        first = await rig.engine.generation()
        assert first is not None
        assert first.idle
        assert not first.exclusive
        stub.crashes += 1
        second = await rig.engine.generation()
        assert second is not None
        assert second.process != first.process
    async with start("openai") as (rig, stub):
        stub.tells = True
        assert await rig.engine.generation() is None


async def test_vllms_500_to_all_that_is_in_work_is_its_end_and_nothing_is_sent_again(start: Any) -> None:
    async with start("vllm", model="small") as (rig, stub):
        stub.tells = stub.leaves_by_500 = True
        stub.faults = {"crash": MARKER}
        for call in (1, 2):
            with pytest.raises(EngineUnavailable, match="HTTP 500") as raised:
                await rig.engine.score([rig.prompt(MARKER), rig.prompt("hello")], timeout_s=TIMEOUT_S)
            assert not raised.value.refused
            assert len(stub.requests) == call
        assert not (await rig.engine.health()).ok
        stub.restart()
        scored(await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S))


async def test_copies_of_a_text_that_ends_vllm_in_its_own_way_end_it_three_times_at_most(start: Any) -> None:
    state = ServerState(time.monotonic)
    state.enrol(None, mute_calls=5, first_pause_s=0.0, on_change=lambda _state, _reason: None)
    async with start("vllm", model="small") as (rig, stub):
        stub.tells = stub.leaves_by_500 = True
        stub.faults = {"crash": MARKER}
        prompts = {"killer": rig.prompt(MARKER), "innocent": rig.prompt("hello")}
        state.seen(await rig.engine.generation())
        for copy in range(9):
            while state.begin_asking(None):
                state.asked(None, healthy=True, generation=await rig.engine.generation())
            names = [name for name in prompts if not state.prompts.is_aside(name)]
            permit = state.admit(copy, None, names)
            assert permit is not None
            try:
                asked = [prompts[name] for name in permit.keys]
                answers = await rig.engine.score(asked, timeout_s=TIMEOUT_S)
                state.report(permit, told_by(answers))
            except EngineUnavailable as error:
                state.report(permit, CallOutcome.AWAY, refused=error.refused)
                stub.restart()
            state.leave(copy)
        assert state.prompts.is_aside("killer")  # without a lease nobody is condemned
        assert stub.crashes == 3
        assert not state.prompts.is_suspect("innocent")


async def test_a_fault_of_vllm_after_which_another_process_answers_was_its_end(start: Any) -> None:
    async with start("vllm", model="small") as (rig, stub):
        stub.tells = True
        await rig.engine.generation()
        stub.statuses = [500]
        stub.restart()
        with pytest.raises(EngineUnavailable) as raised:
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert not raised.value.refused


async def test_a_fault_of_vllm_is_the_items_where_its_process_is_known_though_not_the_last_that_answered(
    start: Any,
) -> None:
    async with start("vllm", model="small") as (rig, stub):
        stub.tells = True
        for process in (0, 1, 0):
            stub.crashes = process  # a balancer answers from either
            await rig.engine.generation()
        stub.crashes = 1
        stub.statuses = [500, 500]
        (answer,) = await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert answer == ItemFailure(FailureCode.ENGINE_ERROR, "HTTP 500")


async def test_a_server_that_stays_busy_is_unavailable(start: Any) -> None:
    async with start() as (rig, stub):
        stub.statuses = [503] * 100
        with pytest.raises(EngineUnavailable, match="503"):
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert len(stub.requests) == 3


async def test_no_retry_goes_beyond_the_deadline(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_FIRST_PAUSE_S", 10 * TIMEOUT_S)
    async with start() as (rig, stub):
        stub.statuses = [503] * 100
        with pytest.raises(EngineUnavailable):
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert len(stub.requests) == 1


async def test_a_refused_connection_is_unavailable(start: Any) -> None:
    async with start(url="http://127.0.0.1:9") as (rig, _):  # the discard port: nobody listens
        with pytest.raises(EngineUnavailable, match=r"cannot be reached .*: check url") as raised:
            await rig.engine.score(some_prompts(rig), timeout_s=TIMEOUT_S)
        assert raised.value.refused  # nothing was sent, so no prompt can have done it
        health = await rig.engine.health()
        assert not health.ok
        assert "cannot be reached" in health.detail


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "check api_key"),
        (403, "check api_key"),
        (404, r"check url \(without /v1\), dialect and model name"),
        (405, r"check url \(without /v1\), dialect and model name"),
    ],
)
async def test_a_server_that_refuses_everybody_holds_the_stream(start: Any, status: int, advice: str) -> None:
    async with start() as (rig, stub):
        stub.statuses = [status]
        with pytest.raises(EngineUnavailable, match=rf"{advice} \(HTTP {status}\)"):
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert len(stub.requests) == 1


@pytest.mark.parametrize(("status", "asked"), [(500, 2), (400, 1), (422, 1), (302, 1)])
async def test_a_refused_item_is_an_engine_error(start: Any, status: int, asked: int) -> None:
    async with start() as (rig, stub):
        stub.statuses = [status, status]
        (answer,) = await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert answer == ItemFailure(FailureCode.ENGINE_ERROR, f"HTTP {status}")
        assert len(stub.requests) == asked


async def test_an_empty_completion_is_asked_for_once_more(start: Any) -> None:
    async with start() as (rig, stub):
        stub.empty_once = True
        scored(await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S))
        assert len(stub.requests) == 2
        stub.empty_once = True
        (explanation,) = await rig.engine.explain([rig.prompt("hello")], ["unsafe"], timeout_s=TIMEOUT_S)
        assert isinstance(explanation, Explanation)
        assert len(stub.requests) == 4


async def test_an_empty_completion_in_a_list_is_asked_for_alone(start: Any) -> None:
    async with start("vllm") as (rig, stub):
        stub.empty_once = True
        scored(await rig.engine.score([rig.prompt("one"), rig.prompt("two")], timeout_s=TIMEOUT_S))
        assert [_prompts(body) for body in stub.requests] == [2, 1, 1]


async def test_the_servers_own_limit_is_too_long(start: Any) -> None:
    async with start() as (rig, _):
        long = rig.prompt("a " * (CONTEXT_TOKENS * 3 // 4))
        assert CONTEXT_TOKENS < len(long.token_ids) <= rig.engine.info.max_prompt_tokens
        (answer,) = await rig.engine.score([long], timeout_s=TIMEOUT_S)
        assert isinstance(answer, ItemFailure)
        assert answer.code is FailureCode.TOO_LONG


@pytest.mark.parametrize("flavour", ["openai", "vllm"])
async def test_prompts_in_flight_are_bounded_over_all_calls(start: Any, flavour: str) -> None:
    async with start(flavour, concurrency=3) as (rig, stub):
        calls = [rig.engine.score(some_prompts(rig), timeout_s=TIMEOUT_S) for _ in range(4)]
        for answers in await asyncio.gather(*calls):
            scored(answers)
        if flavour == "openai":
            assert stub.most_in_flight == 3
        else:
            assert stub.most_in_flight == 1  # a list of three takes all places
        assert sum(_prompts(body) for body in stub.requests) == 4 * 6


async def test_cancelling_a_call_closes_its_requests(start: Any) -> None:
    async with start() as (rig, stub):
        stub.faults["hang"] = None
        call = asyncio.create_task(rig.engine.score(some_prompts(rig), timeout_s=3600))
        async with asyncio.timeout(20):
            while stub.in_flight < 6:
                await asyncio.sleep(0.01)
            call.cancel()
            while stub.abandoned < 6:
                await asyncio.sleep(0.01)


async def test_one_lost_connection_cancels_the_rest_of_its_call(start: Any) -> None:
    async with start() as (rig, stub):
        stub.faults = {"hang": "slow one", "die": MARKER}
        async with asyncio.timeout(20):
            with pytest.raises(EngineUnavailable):
                await rig.engine.score([rig.prompt("slow one"), rig.prompt(MARKER)], timeout_s=3600)
            while not stub.abandoned:
                await asyncio.sleep(0.01)


async def test_a_list_goes_in_one_request_where_that_pays(start: Any) -> None:
    async with start("vllm") as (rig, stub):
        scored(await rig.engine.score(some_prompts(rig), timeout_s=TIMEOUT_S))
        assert [_prompts(body) for body in stub.requests] == [6]


async def test_a_server_that_refuses_lists_gets_no_more_of_them(start: Any) -> None:
    async with start("vllm") as (rig, stub):
        stub.refuse_lists = True
        scored(await rig.engine.score(some_prompts(rig), timeout_s=TIMEOUT_S))
        assert [_prompts(body) for body in stub.requests] == [6, 1, 1, 1, 1, 1, 1]
        scored(await rig.engine.score(some_prompts(rig), timeout_s=TIMEOUT_S))
        assert len(stub.requests) == 13


async def test_a_list_refused_for_one_prompt_is_asked_one_by_one(start: Any) -> None:
    async with start("vllm") as (rig, stub):
        stub.faults["error"] = MARKER
        first, second = await rig.engine.score([rig.prompt("fine"), rig.prompt(MARKER)], timeout_s=TIMEOUT_S)
        assert isinstance(first, Scored)
        assert isinstance(second, ItemFailure)
        stub.faults.clear()
        stub.requests.clear()
        scored(await rig.engine.score(some_prompts(rig), timeout_s=TIMEOUT_S))
        assert [_prompts(body) for body in stub.requests] == [6]  # lists as such are fine


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"text": NaN}]}',
        b"[" * 5000,
        b" " * (2 << 20),
    ],
    ids=["empty", "prose", "list", "null", "no choices", "nan", "deep", "longer than the limit"],
)
async def test_an_unreadable_answer_is_unparsable(start: Any, body: bytes) -> None:
    async with start() as (rig, stub):
        stub.raw_body = body
        (answer,) = await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        (explanation,) = await rig.engine.explain([rig.prompt("hello")], ["unsafe"], timeout_s=TIMEOUT_S)
        for found in (answer, explanation):
            assert isinstance(found, ItemFailure)
            assert found.code is FailureCode.UNPARSABLE


async def test_a_good_answer_is_given_up_where_it_is_longer_than_it_may_be(start: Any) -> None:
    logprobs = {"tokens": [" Safe"], "top_logprobs": [{" Safe": -0.1}]}
    body = json.dumps({"choices": [{"index": 0, "text": " Safe", "logprobs": logprobs}]}).encode()
    async with start() as (rig, stub):
        codes = []
        for room in (b"", b" " * (2 << 20)):
            stub.raw_body = room + body
            (answer,) = await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
            codes.append(answer.code if isinstance(answer, ItemFailure) else None)
    assert codes == [None, FailureCode.UNPARSABLE]


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says the same bytes to every connection, and hangs up."""
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_an_answer_that_breaks_off_is_asked_for_once_more(start: Any) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    async with raw_server(half) as (url, asked), start(url=url) as (rig, _):
        (answer,) = await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert answer == ItemFailure(FailureCode.ENGINE_ERROR, "the answer broke off")
        assert len(asked) == 2


@asynccontextmanager
async def leaving_server(answer: bytes) -> AsyncIterator[str]:
    """A server that answers once and is gone."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


_HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
_STATUS = b"HTTP/1.1 %d x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "dialect", "prompts"),
    [
        (_STATUS % 500, "openai", 1),
        (_HALF, "openai", 1),
        (_STATUS % 500, "vllm", 1),
        (_STATUS % 400, "vllm", 2),
    ],
    ids=["500", "broken off", "500 of vllm", "a list"],
)
async def test_a_server_that_took_a_request_and_is_gone_may_have_died_of_it(
    start: Any, answer: bytes, dialect: str, prompts: int
) -> None:
    async with leaving_server(answer) as url, start(url=url, dialect=dialect, model="small") as (rig, _):
        with pytest.raises(EngineUnavailable) as raised:
            await rig.engine.score([rig.prompt("hello")] * prompts, timeout_s=TIMEOUT_S)
        assert not raised.value.refused


@pytest.mark.parametrize("answer", [b"", b"220 smtp ready\r\n\r\n"], ids=["nothing", "not http"])
async def test_a_server_that_begins_no_answer_is_unavailable(start: Any, answer: bytes) -> None:
    async with raw_server(answer) as (url, asked), start(url=url) as (rig, _):
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert len(asked) == 1  # it may have died of it


async def test_no_text_of_a_post_gets_into_a_failure(start: Any) -> None:
    async with start() as (rig, stub):
        stub.echo_errors = True
        stub.faults["error"] = MARKER
        (answer,) = await rig.engine.score([rig.prompt(MARKER)], timeout_s=TIMEOUT_S)
        assert isinstance(answer, ItemFailure)
        assert MARKER not in answer.detail


async def test_the_api_key_is_sent_and_never_shown(start: Any) -> None:
    async with start(api_key="s3cret") as (rig, stub):
        await rig.engine.health()
        assert stub.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(EngineChoice("completions", api_key="s3cret"))


async def test_prompts_are_sent_as_token_ids_at_temperature_zero(start: Any) -> None:
    async with start("trtllm") as (rig, stub):
        prompt = rig.prompt("hello")
        await rig.engine.score([prompt], timeout_s=TIMEOUT_S)
        assert stub.requests[0]["prompt"] == list(prompt.token_ids)
        assert stub.requests[0]["temperature"] == 0
        assert "logit_bias" not in stub.requests[0]  # it would count into what is reported
        assert stub.requests[0]["logprobs"] == 20


async def test_a_release_that_refuses_what_every_score_needs_holds_the_stream_and_names_the_fix(
    start: Any,
) -> None:
    async with start("trtllm 1.2.1", dialect="trtllm", model="small") as (rig, stub):
        with pytest.raises(EngineUnavailable, match=r"say engine\.dialect: trtllm_chat") as raised:
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)
        assert raised.value.refused
        assert len(stub.requests) == 1
        health = await rig.engine.health()
        assert not health.ok
        assert "trtllm_chat" in health.detail


async def test_an_adapter_that_sglang_has_not_loaded_holds_the_stream_and_names_the_fix(start: Any) -> None:
    async with start("sglang", adapter="teens", lora_path="teens") as (rig, stub):
        with pytest.raises(EngineUnavailable, match="--lora-paths NAME=FOLDER, or check lora_path") as raised:
            await rig.engine.score([rig.prompt("one"), rig.prompt("two")], timeout_s=TIMEOUT_S)
        assert raised.value.refused
        stub.models = ("small", "teens")
        scored(await rig.engine.score([rig.prompt("one"), rig.prompt("two")], timeout_s=TIMEOUT_S))


@pytest.mark.parametrize("flavour", ["trtllm", "trtllm_chat"])
@pytest.mark.parametrize("guided", [False, True])
async def test_the_bundle_says_whether_its_server_holds_explanations_to_their_shape(
    tmp_path: Path, flavour: str, guided: bool
) -> None:
    bundle = write_trtllm_bundle(tmp_path, "pytorch", guided_decoding=guided, tokenizer_folder="hf")
    async with StubServer(flavour) as stub:
        assert isinstance(stub.wire, Trtllm)
        stub.wire.guided = guided
        backend = open_backend(
            EngineChoice("completions", bundle=bundle, url=stub.url, dialect=flavour, model="small")
        )
        prompt = backend.prompter.build(Post(id="1", text="Hello"))
        assert isinstance(prompt, Prompt)
        async with backend.engine as engine:
            (explanation,) = await engine.explain([prompt], ["unsafe"], timeout_s=TIMEOUT_S)
        assert isinstance(explanation, Explanation)
        assert ("response_format" in stub.requests[0]) == guided


async def test_an_unknown_model_name_holds_the_stream(start: Any) -> None:
    async with start("vllm", model="other") as (rig, _):
        with pytest.raises(EngineUnavailable, match="404"):
            await rig.engine.score([rig.prompt("hello")], timeout_s=TIMEOUT_S)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"url": "http://127.0.0.1:9"}, "engine.bundle"),
        ({"bundle": True}, "engine.url"),
        ({"bundle": True, "url": "localhost:8000"}, "engine.url"),
        ({"bundle": True, "url": "http://"}, "engine.url"),
        ({"bundle": True, "url": "http://host:port"}, "engine.url"),
        ({"bundle": True, "url": "http://127.0.0.1:9", "dialect": "tgi"}, "dialect"),
        ({"bundle": True, "url": "http://127.0.0.1:9", "max_prompt_tokens": 513}, "max_prompt_tokens"),
        ({"bundle": True, "url": "http://127.0.0.1:9", "max_prompt_tokens": 3}, "max_prompt_tokens"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: dict[str, Any], names: str) -> None:
    if settings.get("bundle"):
        settings = {**settings, "bundle": write_small_bundle(tmp_path)}
    with pytest.raises(EngineSetupError, match=names):
        open_backend(EngineChoice("completions", **settings))


async def test_an_adapter_that_the_server_does_not_serve_is_never_answered_for_by_its_base(
    tmp_path: Path,
) -> None:
    async with StubServer("vllm", models=("small", "teens")) as stub:
        on: dict[str, Any] = {"bundle": write_small_bundle(tmp_path), "url": stub.url, "dialect": "vllm"}
        opened = open_backends(
            {
                None: EngineChoice("completions", **on),
                "teens": EngineChoice("completions", adapter="teens", model="teens", **on),
            }
        )
        prompt = opened["teens"].prompter.build(Post(id="1", text="Hello"))
        assert isinstance(prompt, Prompt)
        async with opened[None].engine as own, opened["teens"].engine as teens:
            assert isinstance((await teens.score([prompt], timeout_s=5))[0], Scored)
            stub.models = ("small",)
            with pytest.raises(EngineUnavailable, match="no such page or model"):
                await teens.score([prompt], timeout_s=5)
            assert not (await teens.health()).ok
            assert isinstance((await own.score([prompt], timeout_s=5))[0], Scored)
            assert (await own.health()).ok
    assert {request["model"] for request in stub.requests} == {"small", "teens"}


def _prompts(body: dict[str, Any]) -> int:
    return len(body["prompt"]) if isinstance(body["prompt"][0], list) else 1
