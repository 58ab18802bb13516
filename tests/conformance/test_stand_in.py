"""The STAND-IN behaves as documented, where our code depends on it; nothing here is a result of TensorRT-LLM."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conformance.brain import BLOCK, Brain
from conformance.sheet import DisagreementError
from conformance.stand_in import StandIn
from support.small_bundle import small_tokenizer
from support.trtllm_bundle import PADDED, write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IDS = [5] * 100


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    made = StandIn(Brain())
    with made.installed(tmp_path / "site"):
        yield made


@pytest.fixture
def load(tmp_path: Path, stand_in: StandIn) -> Callable[..., tuple[Any, Any]]:
    """Load a model of a runtime: the model, and ``SamplingParams`` with an end token."""

    def loaded(runtime: str, **options: Any) -> tuple[Any, Any]:
        if runtime == "engine":
            from tensorrt_llm._tensorrt_engine import LLM  # noqa: PLC0415 - of the stand-in
        else:
            from tensorrt_llm import LLM  # noqa: PLC0415 - of the stand-in
        from tensorrt_llm import SamplingParams  # noqa: PLC0415 - of the stand-in

        bundle = write_trtllm_bundle(tmp_path / runtime, runtime)
        options = {"skip_tokenizer_init": True, "max_num_tokens": 1024, "max_seq_len": 592, **options}
        return LLM(str(bundle / "served"), **options), lambda **more: SamplingParams(end_id=3, **more)

    return loaded


async def answer(llm: Any, sampling: Any, ids: list[int] = IDS) -> Any:
    return (await llm.generate_async(ids, sampling).aresult()).outputs[0]


async def test_there_are_as_many_logarithms_as_asked_for(load: Callable[..., Any], stand_in: StandIn) -> None:
    llm, sampling = load("pytorch")
    (first,) = (await answer(llm, sampling(max_tokens=1, logprobs=5))).logprobs
    assert next(iter(first)) == int(np.argmax(stand_in.brain.logits(IDS, PADDED)))
    values = [entry.logprob for entry in first.values()]
    assert len(values) == 5
    assert values == sorted(values, reverse=True)
    assert sum(map(math.exp, values)) < 1


async def test_an_engines_logits_are_of_what_was_generated_and_of_the_whole_vocabulary(
    load: Callable[..., Any], stand_in: StandIn
) -> None:
    llm, sampling = load("engine", gather_generation_logits=True)
    found = await answer(llm, sampling(max_tokens=9, return_generation_logits=True))
    assert found.generation_logits.shape == (len(found.token_ids), PADDED)
    assert int(np.argmax(found.generation_logits[0].values)) < small_tokenizer().vocabulary_size
    stand_in.brain.spare_rows = 2
    found = await answer(llm, sampling(max_tokens=1, return_generation_logits=True))
    assert found.generation_logits.shape == (3, PADDED)


async def test_an_engine_that_was_not_told_to_gather_gives_no_logits_and_refuses_logarithms(
    load: Callable[..., Any],
) -> None:
    llm, sampling = load("engine")
    assert (
        await answer(llm, sampling(max_tokens=1, return_generation_logits=True))
    ).generation_logits is None
    with pytest.raises(ValueError, match="gather_generation_logits"):
        llm.generate_async(IDS, sampling(max_tokens=1, logprobs=2))


async def test_a_prompt_that_is_too_long_is_refused_by_either_in_its_own_way(
    load: Callable[..., Any],
) -> None:
    from tensorrt_llm.llmapi import RequestError  # noqa: PLC0415 - of the stand-in

    assert issubclass(RequestError, RuntimeError)
    llm, sampling = load("engine")
    with pytest.raises(ValueError, match="max_seq_len"):
        llm.generate_async([5] * 592, sampling(max_tokens=1))
    llm, sampling = load("pytorch")
    with pytest.raises(RequestError):
        llm.generate_async([5] * 1025, sampling(max_tokens=1))


async def test_more_tokens_than_fit_are_cut_silently_but_for_a_warning(
    load: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    llm, sampling = load("pytorch")
    with caplog.at_level(logging.WARNING):
        found = await answer(llm, sampling(max_tokens=64), [5] * 591)
    assert found.finish_reason == "length"
    assert len(found.token_ids) == 1
    assert "reduced to 1" in caplog.text


async def test_blocks_of_a_finished_prompt_are_reused(load: Callable[..., Any]) -> None:
    llm, sampling = load("pytorch")
    counts = [
        (await llm.generate_async(ids, sampling(max_tokens=1)).aresult()).cached_tokens
        for ids in (IDS, IDS, [*IDS[:40], 9, *IDS[41:]])
    ]
    assert counts == [0, 3 * BLOCK, BLOCK]


async def test_an_aborted_request_ends(load: Callable[..., Any], stand_in: StandIn) -> None:
    llm, sampling = load("pytorch")
    stand_in.brain.faults["hang"] = None
    request = llm.generate_async(IDS, sampling(max_tokens=1))
    assert stand_in.unsettled()
    request.abort()
    assert request.aborted()
    assert stand_in.unsettled() == []


def test_awaiting_what_was_asked_outside_a_loop_fails(load: Callable[..., Any]) -> None:
    llm, sampling = load("pytorch")
    request = llm.generate_async(IDS, sampling(max_tokens=1))
    with pytest.raises(AssertionError, match="event loop"):
        asyncio.run(request.aresult())


def test_a_second_loop_is_a_disagreement(load: Callable[..., Any], stand_in: StandIn) -> None:
    llm, sampling = load("pytorch")
    asyncio.run(answer(llm, sampling(max_tokens=1)))
    with pytest.raises(DisagreementError, match="second event loop"):
        asyncio.run(answer(llm, sampling(max_tokens=1)))
    assert len(stand_in.disagreements) == 1


async def test_after_shutdown_nothing_is_taken(load: Callable[..., Any]) -> None:
    llm, sampling = load("engine")
    assert llm._check_health()
    llm.shutdown()
    assert not llm._check_health()
    with pytest.raises(RuntimeError, match="shutting down"):
        llm.generate_async(IDS, sampling(max_tokens=1))


def test_each_runtime_loads_its_own_kind_of_folder(load: Callable[..., Any], tmp_path: Path) -> None:
    from tensorrt_llm import LLM  # noqa: PLC0415 - of the stand-in

    load("engine")
    with pytest.raises(ValueError, match="pytorch runtime cannot load"):
        LLM(str(tmp_path / "engine" / "served"), skip_tokenizer_init=True)


def test_what_the_library_makes_nobody_else_makes(stand_in: StandIn) -> None:
    from tensorrt_llm import RequestOutput  # noqa: PLC0415 - of the stand-in

    with pytest.raises(DisagreementError, match="made by the library"):
        RequestOutput()


def test_an_unknown_name_is_a_disagreement_even_if_it_is_swallowed(stand_in: StandIn) -> None:
    with pytest.raises(DisagreementError):
        from tensorrt_llm import SamplingConfig  # noqa: F401, PLC0415 - there is none
    assert stand_in.disagreements[0].endswith("tensorrt_llm has no SamplingConfig")
