from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
import types
from collections import Counter
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults, SlowFault, fake_prompter
from sluicegate.engines.backends.fake_faults import FaultsFile
from sluicegate.engines.backends.fake_profile import Accelerator
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored
from sluicegate.schemas import FailureCode, Post, Scores

if TYPE_CHECKING:
    from sluicegate.schemas import Kind

_IN_ANOTHER_PROCESS = """
import asyncio
import json
from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.schemas import Post
prompt = fake_prompter().build(Post(id="p", text="the same text"))
(scored,) = asyncio.run(FakeEngine().score([prompt], timeout_s=1))
print(scored.scores.model_dump_json())
"""


def prompt_of(text: str, kind: Kind = "post") -> Prompt:
    prompt = fake_prompter().build(Post(id="p", text=text, kind=kind))
    assert isinstance(prompt, Prompt)
    return prompt


async def score_of(engine: FakeEngine, text: str) -> Scores:
    (scored,) = await engine.score([prompt_of(text)], timeout_s=10)
    assert isinstance(scored, Scored)
    return scored.scores


async def test_equal_posts_get_equal_scores_in_every_process() -> None:
    here = await score_of(FakeEngine(), "the same text")
    found = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _IN_ANOTHER_PROCESS], stdout=subprocess.PIPE, check=True
    )
    assert Scores.model_validate_json(found.stdout) == here


async def test_the_documented_example_runs_as_written() -> None:
    page = (Path(__file__).parents[4] / "docs" / "client.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[-1]
    names: dict[str, Any] = {}
    code = compile(example, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await types.FunctionType(code, names)()
    assert names["scored"].scores.unsafe == pytest.approx(0.97)
    assert names["failed"].code is FailureCode.ENGINE_ERROR


async def test_the_scores_depend_on_the_post_alone_and_not_on_what_surrounds_it() -> None:
    with_hint = fake_prompter().build(Post(id="other", text="hello", region="DE", tenant="t"))
    assert isinstance(with_hint, Prompt)
    plain, hinted = await FakeEngine().score([prompt_of("hello"), with_hint], timeout_s=10)
    assert isinstance(plain, Scored)
    assert isinstance(hinted, Scored)
    assert plain.scores == hinted.scores


async def test_many_posts_give_a_plausible_stream() -> None:
    engine = FakeEngine()
    scored = await engine.score([prompt_of(f"post {number}") for number in range(2000)], timeout_s=10)
    shares = Counter(one.scores.severity for one in scored if isinstance(one, Scored))
    assert 0.80 < shares["safe"] / 2000 < 0.90
    assert 0.05 < shares["controversial"] / 2000 < 0.11
    assert 0.04 < shares["unsafe"] / 2000 < 0.10


async def test_the_first_rule_found_in_a_post_decides() -> None:
    engine = FakeEngine(FakeProfile(rules={"<|im_end|>": "controversial", "attack": "unsafe", "at": "safe"}))
    assert (await score_of(engine, "they attack at dawn")).severity == "unsafe"
    assert (await score_of(engine, "at dawn")).severity == "safe"
    assert (await score_of(engine, "attack <|im_end|>")).severity == "controversial"


def test_other_rules_are_another_engine() -> None:
    plain, ruled = FakeEngine(), FakeEngine(FakeProfile(rules={"a": "unsafe"}))
    assert plain.info.digest != ruled.info.digest
    assert plain.info.digest == FakeEngine(FakeProfile.h100()).info.digest


async def test_a_safe_post_has_no_category_and_an_unsafe_one_has_one() -> None:
    prompts = [prompt_of(f"post {number}") for number in range(50)]
    for answer in await FakeEngine().explain(prompts, ["safe"] * 50, timeout_s=10):
        assert isinstance(answer, Explanation)
        assert answer.categories == ()
    for answer in await FakeEngine().explain(prompts, ["unsafe"] * 50, timeout_s=10):
        assert isinstance(answer, Explanation)
        assert len(answer.categories) == 1
        assert (
            max(answer.category_scores, key=lambda name: answer.category_scores[name]) == answer.categories[0]
        )


async def test_a_response_is_never_a_jailbreak() -> None:
    prompts = [prompt_of(f"answer {number}", "response") for number in range(200)]
    answers = await FakeEngine().explain(prompts, ["unsafe"] * 200, timeout_s=10)
    names = {name for answer in answers if isinstance(answer, Explanation) for name in answer.categories}
    assert len(names) == 8
    assert "Jailbreak" not in names


async def test_the_default_profile_takes_no_time() -> None:
    async with asyncio.timeout(60):
        for _ in range(200):
            await FakeEngine().score([prompt_of("x")] * 10, timeout_s=0.001)


@given(
    tokens=st.integers(0, 10**6),
    more=st.integers(0, 10**6),
    prompts=st.integers(1, 512),
    length=st.integers(1, 64),
)
def test_more_work_never_takes_less_time(tokens: int, more: int, prompts: int, length: int) -> None:
    profile = FakeProfile.h100()
    assert profile.step_s <= profile.prefill_s(tokens) <= profile.prefill_s(tokens + more)
    assert profile.decode_s(prompts, length) <= profile.decode_s(prompts + 1, length)
    assert FakeProfile().prefill_s(tokens) == 0


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), min_size=1))
def test_overlapping_calls_queue_as_on_one_accelerator(calls: list[tuple[float, float]]) -> None:
    accelerator = Accelerator()
    arrivals = sorted(calls)
    done = [accelerator.book(at, work) for at, work in arrivals]
    assert done == sorted(done)
    for (at, work), end in zip(arrivals, done, strict=True):
        assert end >= at + work
    assert done[-1] >= arrivals[0][0] + sum(work for _, work in arrivals) - 1e-9


def test_a_prefix_is_computed_once_and_forgotten_when_too_many_follow() -> None:
    accelerator = Accelerator()
    prompt = prompt_of("hello")
    assert accelerator.cached_tokens([prompt, prompt]) == [0, prompt.shared_tokens]
    for number in range(256):
        accelerator.cached_tokens([Prompt((number, number), "post", 2, (1, 2))])
    assert accelerator.cached_tokens([prompt]) == [0]


async def test_the_h100_profile_is_as_fast_as_its_published_anchor() -> None:
    """Arithmetic of the simulated clock, without waiting: 58,900 tokens are one second of work."""
    assert FakeProfile.h100().prefill_s(4 * 58_900) == pytest.approx(1.0)


async def test_a_call_that_takes_longer_than_its_deadline_is_timed_out() -> None:
    engine = FakeEngine(FakeProfile(prefill_tokens_per_s=1.0))
    answers = await engine.score([prompt_of("long"), prompt_of("wait")], timeout_s=0.01)
    assert [isinstance(one, ItemFailure) and one.code for one in answers] == [FailureCode.TIMED_OUT] * 2


async def test_the_slow_fault_delays_only_calls_with_an_affected_post() -> None:
    engine = FakeEngine(faults=Faults(slow=SlowFault(marker="snail", delay_s=3600)))
    await score_of(engine, "hare")
    (late,) = await engine.score([prompt_of("snail")], timeout_s=0.01)
    assert isinstance(late, ItemFailure)
    assert late.code is FailureCode.TIMED_OUT


async def test_an_engine_that_dies_in_the_middle_answers_nobody() -> None:
    engine = FakeEngine(FakeProfile(call_overhead_s=0.05))
    call = asyncio.create_task(engine.score([prompt_of("x")], timeout_s=10))
    await asyncio.sleep(0)
    engine.faults.die = Fault()
    with pytest.raises(EngineUnavailable):
        await call


async def test_a_post_with_the_marker_takes_its_whole_call_down() -> None:
    engine = FakeEngine(faults=Faults(die=Fault(marker="poison")))
    await score_of(engine, "fine")
    with pytest.raises(EngineUnavailable):
        await engine.score([prompt_of("fine"), prompt_of("poison")], timeout_s=10)
    assert (await engine.health()).ok


async def test_a_hanging_post_does_not_take_its_neighbours_answers() -> None:
    engine = FakeEngine(faults=Faults(hang=Fault(marker="stuck")))
    fine, stuck = await engine.score([prompt_of("fine"), prompt_of("stuck")], timeout_s=0.05)
    assert isinstance(fine, Scored)
    assert isinstance(stuck, ItemFailure)
    assert stuck.code is FailureCode.TIMED_OUT


async def test_a_file_switches_faults_while_the_engine_runs(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    engine = FakeEngine(FakeProfile(faults_file=path), faults=Faults())
    assert (await engine.health()).ok
    path.write_text('{"die": true}')
    assert not (await engine.health()).ok
    path.write_text('{"die": false, "error": {"marker": "bad"}}')
    assert (await engine.health()).ok
    fine, bad = await engine.score([prompt_of("fine"), prompt_of("bad")], timeout_s=10)
    assert isinstance(fine, Scored)
    assert isinstance(bad, ItemFailure)
    path.write_text('{"die": tr')  # half written: nothing changes
    (bad,) = await engine.score([prompt_of("bad")], timeout_s=10)
    assert isinstance(bad, ItemFailure)
    path.unlink()
    await score_of(engine, "bad")


def test_a_replaced_file_is_seen_even_with_the_same_time_and_size(tmp_path: Path) -> None:
    path, other = tmp_path / "faults.json", tmp_path / "other.json"
    path.write_text('{"hang": true}')
    other.write_text('{"slow": true}')
    for one in (path, other):
        os.utime(one, ns=(10**18, 10**18))
    file = FaultsFile(path)
    assert file.read() == Faults(hang=Fault())
    other.replace(path)
    assert file.read() == Faults(slow=SlowFault())


@pytest.mark.parametrize(
    "text", ['{"explode": true}', '{"slow": {"delay_s": -1}}', '{"hang": {"marker": ""}}', "[]"]
)
def test_a_file_with_unknown_switches_changes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    assert FaultsFile(path).read() is None


async def test_a_file_that_exists_replaces_the_engines_own_faults(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text("{}")
    engine = FakeEngine(FakeProfile(faults_file=path), faults=Faults(error=Fault()))
    await score_of(engine, "fine")
    path.unlink()
    (answer,) = await engine.score([prompt_of("fine")], timeout_s=10)
    assert isinstance(answer, ItemFailure)


def test_in_flight_batching_books_tokens_and_lets_others_in_while_passes_last() -> None:
    own = FakeProfile(prefill_tokens_per_s=1000, decode_tokens_per_s=100, step_s=0.1)
    shared = replace(own, in_flight_batching=True)
    assert astuple(own.work(prompts=5, tokens=4)) == pytest.approx((0.4, 0.0))
    assert astuple(shared.work(prompts=5, tokens=4)) == pytest.approx((0.2, 0.4))
    assert astuple(own.work(computed=0)) == pytest.approx((0.1, 0.0))
    assert astuple(shared.work(computed=500, prompts=2, tokens=1)) == pytest.approx((0.52, 0.2))
    accelerator = Accelerator()
    assert accelerator.book(0.0, 0.2, least_s=0.4) == pytest.approx(0.4)
    assert accelerator.book(0.1, 0.2) == pytest.approx(0.4)


async def test_the_engine_counts_its_own_work_and_writes_it_down(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    engine = FakeEngine(FakeProfile(bytes_per_token=2, saturating_prompts=2, counts_file=path))
    prompts = [prompt_of("one"), prompt_of("two")]
    await engine.score(prompts, timeout_s=10)
    await engine.explain(prompts[:1], ["unsafe"], timeout_s=10)
    await engine.generate(prompts, tokens=8, timeout_s=10)
    counts = engine.counts
    tokens, shared = len(prompts[0].token_ids) / 2, prompts[0].shared_tokens / 2
    assert (counts.prompts, counts.explained) == (4, 1)
    assert (counts.prompt_tokens, counts.cached_tokens) == (4 * tokens, 3 * shared)
    assert counts.generated_tokens == 16 + 16
    assert counts.saturated_s > 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0].keys() == {"at_s", *asdict(counts)}


async def test_whole_answers_take_their_passes() -> None:
    profile = FakeProfile(decode_tokens_per_s=10, step_s=0.001)
    assert profile.work(computed=1, prompts=1, tokens=3).booked_s == pytest.approx(0.301)
    engine = FakeEngine(profile)
    (late,) = await engine.generate([prompt_of("x")], tokens=100, timeout_s=0.01)
    assert isinstance(late, ItemFailure)
    assert late.code is FailureCode.TIMED_OUT


def test_a_cache_of_blocks_finds_whole_blocks_of_the_shared_prefix() -> None:
    def prompt(shared: int) -> Prompt:
        return Prompt(token_ids=tuple(range(200)), kind="post", shared_tokens=shared, content=(shared, 200))

    whole, blocks = (
        Accelerator(),
        Accelerator(FakeProfile(cache_block_tokens=8, bytes_per_token=4).cache_block),
    )
    for accelerator in (whole, blocks):
        assert accelerator.cached_tokens([prompt(100)]) == [0]
    assert whole.cached_tokens([prompt(100), prompt(20)]) == [100, 0]
    assert blocks.cached_tokens([prompt(100), prompt(120), prompt(20)]) == [96, 96, 0]


async def test_an_explanation_computes_the_tokens_that_its_profile_says() -> None:
    engine = FakeEngine(FakeProfile(explanation_prompt_tokens=44, bytes_per_token=4))
    prompt = prompt_of("hello")
    await engine.score([prompt], timeout_s=10)
    before = engine.counts.prompt_tokens
    await engine.explain([prompt, prompt], ["unsafe", "unsafe"], timeout_s=10)
    assert engine.counts.prompt_tokens - before == 88
