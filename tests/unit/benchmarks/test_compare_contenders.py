"""What this pipeline is compared with, in this process and without a broker: it judges, and it asks what it should."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from compare.contenders.alone import ClosedLoop, asked_of
from compare.contenders.loops import Floor
from compare.contenders.plainly import Counting, Judge, Task
from compare.contenders.whole_answers import AFTER, BEFORE, WholeAnswers, filled, vendor_prompter
from compare.engines import FIFTH, H100, INSTANT
from compare.plan import ALONE, FLOOR
from compare.watch import lines
from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.protocol import Prompt
from sluicegate.pipeline.settings.engine_choice import fake_profile
from sluicegate.schemas import Post, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from compare.process import EngineSetup


def task_for(folder: Path, engine: EngineSetup, system: str = ALONE) -> Task:
    profile, counts = folder / "profile.json", folder / "counts.jsonl"
    profile.write_text(json.dumps(engine.profile | {"counts_file": str(counts)}))
    return Task("", "", "", "", system, engine.backend, str(profile), str(counts))


def values_of(*texts: str) -> list[bytes]:
    return [json.dumps({"id": f"p{number}", "text": text}).encode() for number, text in enumerate(texts)]


@pytest.mark.parametrize("engine", [H100, FIFTH, INSTANT])
def test_every_profile_is_one_that_a_worker_reads(tmp_path: Path, engine: EngineSetup) -> None:
    fake_profile(tmp_path / task_for(tmp_path, engine).profile)


async def test_a_contender_judges_as_the_policy_decides(tmp_path: Path) -> None:
    engine = type(H100)("fake", {"rules": {"attack": "unsafe"}})
    task = task_for(tmp_path, engine)
    judge = Judge(task, task.open())
    posts = [judge.decode(value) for value in values_of("they attack at dawn", "the library opens at nine")]
    found = [Verdict.model_validate_json(one) for one in await judge.judge(posts)]
    assert [one.post_id for one in found] == ["p0", "p1"]
    assert (found[0].action.value, found[0].severity) == ("block", "unsafe")
    assert len(found[0].categories) == 1
    assert isinstance(judge.backend.engine, FakeEngine)
    counts = judge.backend.engine.counts
    assert (counts.prompts, counts.explained) == (
        2,
        sum(one.severity != "safe" or one.categories != () for one in found),
    )


def test_a_record_that_is_no_post_stops_a_contender(tmp_path: Path) -> None:
    task = task_for(tmp_path, INSTANT)
    with pytest.raises(TypeError, match="no post"):
        Judge(task, task.open()).decode(b"{}")


async def test_generate_always_has_the_vendors_lengths_and_writes_a_whole_answer_for_each_post(
    tmp_path: Path,
) -> None:
    task = task_for(tmp_path, INSTANT)
    backend = task.open()
    engine: Any = backend.engine
    prompter = vendor_prompter(backend, 1)
    prompt = prompter.build(Post(id="p", text="hello"))
    assert isinstance(prompt, Prompt)
    first, last = prompt.content
    assert abs(first - (BEFORE + len("USER:"))) <= 2
    assert abs(len(prompt.token_ids) - last - (AFTER)) <= 2
    whole = WholeAnswers(backend)
    await whole.open()
    posts = [Post(id=f"p{number}", text="the same text", language="de") for number in range(3)]
    found = await whole.ask(posts)
    assert len({one.severity for one in found}) == 1
    assert (engine.counts.prompts, engine.counts.generated_tokens) == (3, 3 * 7)
    assert engine.counts.cached_tokens == 2 * first


def test_a_filled_text_has_so_many_tokens() -> None:
    tokenizer = ByteTokenizer()
    assert abs(len(tokenizer.encode_static(filled(tokenizer, 100))) - 100) <= 1


async def test_the_engine_alone_is_asked_each_prompt_once_and_answers_every_post(tmp_path: Path) -> None:
    task = task_for(tmp_path, INSTANT)
    judge = Judge(task, task.open())
    texts = [f"text {number % 150}" for number in range(200)] + ["h e l l o   w o r l d, b u y   n o w"]
    asked, parts_of = asked_of(judge, values_of(*texts))
    assert len(asked) >= 151
    assert sum(len(one.posts) for one in asked) == sum(parts_of.values())
    loop = ClosedLoop(task, judge, asked, parts_of)
    await loop.run(3, told=True)
    engine: Any = judge.backend.engine
    assert engine.counts.prompts == len(asked)
    told = lines(tmp_path / "counts.jsonl.posts")
    assert told[-1]["posts"] == len(texts)


def test_the_floor_makes_verdicts_as_they_leave_the_pipeline(tmp_path: Path) -> None:
    task = task_for(tmp_path, INSTANT, FLOOR)
    values = values_of("h e l l o   w o r l d", "the library opens at nine")
    plain, folding = Floor(task, folds=False), Floor(task, folds=True)
    for floor in (plain, folding):
        found = [Verdict.model_validate_json(one) for one in floor.verdicts(values)]
        assert [one.post_id for one in found] == ["p0", "p1"]
        assert found[0].verdict_id != found[1].verdict_id


def test_an_engine_that_does_not_count_is_counted_beside_its_calls(tmp_path: Path) -> None:
    counting = Counting(str(tmp_path / "counts.jsonl"), 2)
    with counting.work(2):
        counting.tell()
    assert lines(tmp_path / "counts.jsonl")[0]["saturated_s"] >= 0
