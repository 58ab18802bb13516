"""The TensorRT-LLM engine over a STAND-IN; see :mod:`conformance.stand_in` for what that is not."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from conformance.brain import BLOCK, Brain
from conformance.stand_in import StandIn
from sluicegate.engines.backends import EngineChoice, open_backend, tensorrt_llm
from sluicegate.engines.backends.side_by_side import aside
from sluicegate.engines.backends.trtllm import border
from sluicegate.engines.errors import EngineSetupError, EngineUnavailable
from sluicegate.engines.protocol import Explanation, Generation, ItemFailure, Prompt, Scored
from sluicegate.schemas import FailureCode, Post
from support.small_bundle import small_manifest, small_tokenizer
from support.trtllm_bundle import PADDED, write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluicegate.engines.backends import Backend

RUNTIMES = ("engine", "pytorch")
LABELS = [small_manifest()["labels"][name]["token_ids"][0] for name in ("safe", "controversial", "unsafe")]


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(Brain())
    with made.installed(tmp_path / "site"):
        yield made
    assert made.disagreements == []


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Backend]:
    def of(runtime: str, **changes: Any) -> Backend:
        bundle = write_trtllm_bundle(tmp_path / runtime, runtime, **changes)
        return open_backend(EngineChoice("tensorrt_llm", bundle=bundle))

    return of


def prompt(backend: Backend, text: str, **fields: Any) -> Prompt:
    built = backend.prompter.build(Post(id="p", text=text, **fields))
    assert isinstance(built, Prompt)
    return built


async def test_without_the_package_one_sentence_says_how_to_get_it(opened: Callable[..., Backend]) -> None:
    with pytest.raises(EngineSetupError) as caught:
        async with opened("engine").engine:
            pass
    sentence = str(caught.value)
    assert sentence.startswith("TensorRT-LLM is not installed: ")
    assert "nvcr.io/nvidia/tensorrt-llm/release:1.2.1" in sentence
    assert "pip install 'sluicegate[gpu]'" in sentence
    assert "\n" not in sentence


async def test_another_release_is_refused_by_name(tmp_path: Path, opened: Callable[..., Backend]) -> None:
    with (
        StandIn().installed(tmp_path / "site", version="1.2.0"),
        pytest.raises(EngineSetupError, match=r"TensorRT-LLM 1\.2\.0 is"),
    ):
        async with opened("pytorch").engine:
            pass


async def test_a_library_that_does_not_load_is_a_sentence(
    stand_in: StandIn, opened: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_llm.llmapi", None)  # its import now fails
    with pytest.raises(EngineSetupError, match="does not load"):
        async with opened("pytorch").engine:
            pass


async def test_a_folder_that_does_not_load_is_a_sentence(
    stand_in: StandIn, opened: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = border.load_library
    monkeypatch.setattr(tensorrt_llm, "load_library", lambda _: real("pytorch"))
    with pytest.raises(EngineSetupError, match=r"does not load served \(ValueError"):
        async with opened("engine").engine:
            pass


def test_opening_a_backend_imports_and_makes_nothing(
    stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    opened("engine")
    assert stand_in.uses == []
    assert stand_in.llms == []


async def test_the_bundle_must_be_named() -> None:
    with pytest.raises(EngineSetupError, match=r"engine\.bundle is missing"):
        open_backend(EngineChoice("tensorrt_llm"))


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_each_prefix_is_warm_before_the_first_post(
    runtime: str, stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened(runtime)
    async with backend.engine as engine:
        warm = len(stand_in.requests)
        assert warm == 3  # post, prompt and response begin differently
        most = 0
        for kind in ("post", "prompt", "response"):
            asked = prompt(
                backend, "A text of its own.", kind=kind, context="Q" if kind == "response" else None
            )
            (found,) = await engine.score([asked], timeout_s=30)
            assert isinstance(found, Scored)
            most = max(most, asked.shared_tokens)
            whole = asked.shared_tokens // BLOCK * BLOCK
            assert found.cached_tokens >= whole
    assert most >= BLOCK  # or nothing was shared


async def test_a_block_that_is_reused_in_part_counts_no_more_than_the_prompt(
    stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened("engine")
    async with backend.engine as engine:
        stand_in.brain.partial_blocks = 100
        asked = prompt(backend, "A text of its own.")
        (found,) = await engine.score([asked], timeout_s=30)
    assert isinstance(found, Scored)
    assert found.cached_tokens == len(asked.token_ids)


async def test_an_engine_that_says_nothing_of_its_cache_still_scores(
    stand_in: StandIn, opened: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = border._reused_blocks
    monkeypatch.setattr(border, "_reused_blocks", lambda _: real(None))
    backend = opened("engine")
    async with backend.engine as engine:
        (found,) = await engine.score([prompt(backend, "A text of its own.")], timeout_s=30)
    assert isinstance(found, Scored)
    assert found.cached_tokens == 0


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_no_row_of_a_bias_is_sent(
    runtime: str, stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    """A full float32 row a prompt: 155 MB a step of 256."""
    backend = opened(runtime)
    async with backend.engine as engine:
        await engine.score([prompt(backend, "A text of its own.")], timeout_s=30)
        await engine.explain([prompt(backend, "A text of its own.")], ["unsafe"], timeout_s=30)
    made = [use.arguments for use in stand_in.uses if use.entry == "SamplingParams"]
    assert made
    assert not any("embedding_bias" in arguments for arguments in made)


@pytest.mark.parametrize(("dtype", "told"), [("float32", False), ("float16", True)])
async def test_an_engine_with_coarse_logits_is_named_at_the_start(
    dtype: str,
    told: bool,
    stand_in: StandIn,
    opened: Callable[..., Backend],
    caplog: pytest.LogCaptureFixture,
) -> None:
    stand_in.brain.logits_dtype = dtype
    async with opened("engine").engine:
        pass
    assert ("gives logits in float16" in caplog.text) == told


@pytest.mark.parametrize("quirk", [{}, {"spare_rows": 3}])
@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_the_scores_are_the_softmax_of_the_labels_logits(
    runtime: str, quirk: dict[str, Any], stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    stand_in.brain = Brain(**quirk)
    backend = opened(runtime)
    async with backend.engine as engine:
        asked = prompt(backend, "You again.")
        (found,) = await engine.score([asked], timeout_s=30)
    logits = stand_in.brain.logits(asked.token_ids, PADDED)
    weights = [math.exp(logits[label]) for label in LABELS]
    assert isinstance(found, Scored)
    scores = (found.scores.safe, found.scores.controversial, found.scores.unsafe)
    assert scores == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-5)
    assert not found.bounded
    assert found.label_mass == pytest.approx(sum(weights) / sum(map(math.exp, logits)), rel=1e-5)


async def test_a_label_that_is_missing_gets_the_least_candidate_as_its_bound(
    stand_in: StandIn, opened: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Brain.logits

    def without_safe(brain: Brain, token_ids: Any, size: int) -> Any:
        values = real(brain, token_ids, size)
        values[LABELS[0]] = -40.0
        return values

    monkeypatch.setattr(Brain, "logits", without_safe)
    backend = opened("pytorch")
    async with backend.engine as engine:
        asked = prompt(backend, "You again.")
        (found,) = await engine.score([asked], timeout_s=30)
    assert isinstance(found, Scored)
    assert found.bounded
    values = sorted(without_safe(stand_in.brain, asked.token_ids, PADDED))
    bound = math.exp(values[-20]) / (math.exp(values[-20]) + sum(math.exp(values[-rank]) for rank in (1, 2)))
    assert found.scores.safe == pytest.approx(bound, rel=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_the_category_scores_are_of_the_first_token_and_sum_to_one(
    runtime: str, stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened(runtime)
    async with backend.engine as engine:
        asked = prompt(backend, "You again.")
        (found,) = await engine.explain([asked], ["unsafe"], timeout_s=30)
        forced = [*asked.token_ids, LABELS[2], *small_tokenizer().encode_static("\nCategories:")]
    assert isinstance(found, Explanation)
    logits = stand_in.brain.logits(forced, PADDED)
    best = max(found.category_scores, key=lambda name: found.category_scores[name])
    heads = {name: small_tokenizer().encode_text(f" {name}")[0] for name in (*backend.categories, "None")}
    assert best == max(heads, key=lambda name: logits[heads[name]])
    assert found.categories == (() if best == "None" else (best,))
    assert sum(found.category_scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("ends_by", ["cancelling", "the deadline"])
async def test_whatever_is_given_up_is_aborted(
    ends_by: str, stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened("pytorch")
    async with backend.engine as engine:
        before = len(stand_in.requests)
        stand_in.brain.faults["hang"] = None
        prompts = [prompt(backend, f"text {number}") for number in range(20)]  # more than there are places
        if ends_by == "cancelling":
            call = asyncio.create_task(engine.score(prompts, timeout_s=3600))
            while len(stand_in.requests) < before + 16:
                await asyncio.sleep(0.001)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            answers = await engine.score(prompts, timeout_s=0.2)
            assert [isinstance(one, ItemFailure) and one.code for one in answers] == [
                FailureCode.TIMED_OUT
            ] * 20
        mine = stand_in.requests[before:]
        assert len(mine) == 16  # twice the largest step: the others waited here and cost nothing
        assert all(request.gone for request in mine)
        del stand_in.brain.faults["hang"]
        (found,) = await engine.score(prompts[:1], timeout_s=30)
        assert isinstance(found, Scored)


async def test_a_call_that_is_cancelled_before_it_begins_leaves_nothing(
    stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened("pytorch")
    async with backend.engine as engine:
        before = len(stand_in.requests)
        call = asyncio.create_task(engine.score([prompt(backend, "a"), prompt(backend, "b")], timeout_s=30))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(stand_in.requests) == before


@pytest.mark.parametrize(
    ("times", "expected"), [("empty_once", None), ("empty", FailureCode.EMPTY_COMPLETION)]
)
async def test_an_empty_answer_is_asked_for_once_more(
    times: str, expected: FailureCode | None, stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened("pytorch")
    async with backend.engine as engine:
        before = len(stand_in.requests)
        stand_in.brain.faults[times] = None
        (found,) = await engine.score([prompt(backend, "Hello.")], timeout_s=30)
        assert len(stand_in.requests) - before == 2
    assert found.code is expected if isinstance(found, ItemFailure) else expected is None


async def test_a_fault_is_the_items_own_while_our_own_prompt_is_answered(
    stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened("engine")
    async with backend.engine as engine:
        before = len(stand_in.requests)
        stand_in.brain.faults["error"] = "secret"
        prompts = [prompt(backend, f"secret {number}") for number in range(5)]
        answers = await engine.score(prompts, timeout_s=30)
        assert {one.code for one in answers if isinstance(one, ItemFailure)} == {FailureCode.ENGINE_ERROR}
        assert {one.detail for one in answers if isinstance(one, ItemFailure)} == {"StandInRequestError"}
        assert len(stand_in.requests) - before == 6  # five, and one question for all


async def test_a_fault_of_everything_is_the_engines(
    stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened("engine")
    async with backend.engine as engine:
        stand_in.brain.faults["error"] = None
        with pytest.raises(EngineUnavailable, match="answers nothing any more"):
            await engine.score([prompt(backend, "a"), prompt(backend, "b")], timeout_s=30)
        health = await engine.health()
        assert (health.ok, health.detail, health.silent) == (
            False,
            "TensorRT-LLM raises StandInRequestError",
            False,
        )
        stand_in.brain.faults.clear()
        assert (await engine.health()).ok


async def test_a_slow_answer_to_our_own_prompt_condemns_nobody(
    stand_in: StandIn, opened: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_llm, "_HEALTH_S", 0.05)
    backend = opened("engine")
    async with backend.engine as engine:
        stand_in.brain.faults |= {"error": "secret", "hang": "Hello"}  # our own says Hello
        (found,) = await engine.score([prompt(backend, "secret")], timeout_s=30)
        assert isinstance(found, ItemFailure)
        assert found.code is FailureCode.ENGINE_ERROR
        assert (await engine.health()).silent


async def test_an_engine_that_stays_away_ends_its_process_once(
    stand_in: StandIn, opened: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(tensorrt_llm, "end_process", lambda: ended.append(1))
    backend = opened("engine")
    async with backend.engine as engine:
        for number in range(4):
            stand_in.brain.faults["die"] = None
            assert not (await engine.health()).ok
            if number == 3:
                stand_in.brain.faults.clear()
                assert (await engine.health()).ok  # and the count begins anew
        stand_in.brain.faults["die"] = None
        for _ in range(7):
            assert ended == [] or _ >= 5
            await engine.health()
        assert ended == [1]


async def test_questions_beside_work_of_ours_do_not_count(
    stand_in: StandIn, opened: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(tensorrt_llm, "end_process", lambda: ended.append(1))
    monkeypatch.setattr(tensorrt_llm, "_HEALTH_S", 0.01)
    backend = opened("engine")
    async with backend.engine as engine:
        stand_in.brain.faults["hang"] = None
        call = asyncio.create_task(engine.score([prompt(backend, "a")], timeout_s=3600))
        await asyncio.sleep(0.01)
        for _ in range(8):
            assert not (await engine.health()).ok
        assert ended == []
        call.cancel()
        await asyncio.wait([call])


async def test_another_loop_is_refused(stand_in: StandIn, opened: Callable[..., Backend]) -> None:
    backend = opened("engine")
    async with backend.engine as engine:
        asked = prompt(backend, "a")
        with pytest.raises(RuntimeError, match="belongs to the event loop that started it"):
            await asyncio.to_thread(lambda: asyncio.run(engine.score([asked], timeout_s=5)))


async def test_leaving_shuts_down_and_a_closed_engine_is_away(
    stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    backend = opened("engine")
    async with backend.engine as engine:
        assert [llm.closed for llm in stand_in.llms] == [False]
    assert [llm.closed for llm in stand_in.llms] == [True]
    with pytest.raises(EngineUnavailable):
        await engine.score([prompt(backend, "a")], timeout_s=5)
    assert (await engine.health()).detail == "TensorRT-LLM is shut down"
    async with backend.engine as engine:  # and may be entered again
        assert (await engine.health()).ok


@pytest.mark.parametrize("fault", ["die", "empty", "garble"])
async def test_an_engine_that_cannot_score_our_own_prompt_does_not_start_and_is_shut_down(
    fault: str, stand_in: StandIn, opened: Callable[..., Backend]
) -> None:
    stand_in.brain.faults[fault] = None
    with pytest.raises(EngineSetupError, match="does not score a prompt of our own"):
        async with opened("engine").engine:
            pass
    assert [llm.closed for llm in stand_in.llms] == [True]


async def test_a_shutdown_that_hangs_or_fails_is_left_behind(
    stand_in: StandIn,
    opened: Callable[..., Backend],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tensorrt_llm, "_CLOSE_S", 0.05)
    release = threading.Event()
    async with opened("engine").engine:
        monkeypatch.setattr(type(stand_in.llms[0]), "_shutdown", lambda _: release.wait())
    release.set()
    assert "did not shut down cleanly: TimeoutError" in caplog.text


async def test_a_bundle_without_an_end_token_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_llm, "_END", "<|stop|>")
    with pytest.raises(EngineSetupError, match=r"control_tokens has no <\|stop\|>"):
        open_backend(EngineChoice("tensorrt_llm", bundle=write_trtllm_bundle(tmp_path, "engine")))


async def test_its_generation_is_this_process_which_nobody_shares(tmp_path: Path) -> None:
    backend = open_backend(EngineChoice("tensorrt_llm", bundle=write_trtllm_bundle(tmp_path, "engine")))
    assert backend.in_process
    assert await backend.engine.generation() == Generation(f"process {os.getpid()}", exclusive=True)


async def test_blocking_work_is_done_aside_and_its_fault_is_raised_here() -> None:
    assert await aside(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 / 0)


async def test_work_whose_waiter_left_ends_by_itself() -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait()
        ended.set()

    call = asyncio.create_task(aside(work))
    await asyncio.to_thread(begun.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()
    await asyncio.to_thread(ended.wait)
    await asyncio.sleep(0)  # its result arrives, and nobody is hurt
