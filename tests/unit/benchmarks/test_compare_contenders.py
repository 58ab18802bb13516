"""What this pipeline is compared with, in this process and without a broker: it judges, and it asks what it should."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from compare.contenders.alone import ClosedLoop, asked_of
from compare.contenders.floor import SAFE, TIMES, Floor
from compare.contenders.plainly import Counting, Judge, Task
from compare.contenders.whole_answers import AFTER, BEFORE, WholeAnswers, filled, vendor_prompter
from compare.engines import FIFTH, H100, INSTANT
from compare.plan import ALONE, FLOOR
from compare.watch import lines
from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.flow.decision import Provenance, assess, decide, engine_reference
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.engine_choice import fake_profile
from sluicegate.pipeline.shortcuts.cache import cache_key
from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import AssessedBy, Post, Segments, Verdict, decode_post, encode

if TYPE_CHECKING:
    from pathlib import Path

    from compare.process import EngineSetup

ANSWER = json.dumps(
    {
        "id": "answer",
        "kind": "response",
        "text": "no",
        "context": [{"role": "user", "text": "say no"}, {"role": "assistant", "text": "why"}],
        "tenant": "games",
        "author_id": "a",
        "region": "DE",
        "language": "de-AT",
    }
).encode()


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


def _looks_the_same(post: Post) -> bool:
    form = fold(post.text)
    return form.differs and form.looks_the_same


@pytest.mark.parametrize("folds", [False, True])
def test_the_frozen_floor_still_computes_what_the_pipeline_does(tmp_path: Path, folds: bool) -> None:
    backend, policy = task_for(tmp_path, INSTANT, FLOOR).open(), Policy.load(None)
    records = [*islice(sample_records(), 300), *values_of("h e l l o   w o r l d", "ｋ1ll them аll"), ANSWER]
    posts = [
        post
        for value in records
        # Of a text that looks the same in its folded form the frozen loop still asks about both forms.
        if isinstance(post := decode_post(value), Post) and not _looks_the_same(post)
    ]
    floor = Floor(backend, folds=folds)
    segmenter = Segmenter(backend.prompter, folds=folds)
    built = segmenter.build_many(posts, [LengthLimits(32_768, 64)] * len(posts))
    prompts = [part.prompt for parts in built if isinstance(parts, Parts) for part in parts.parts]
    assert sorted(floor.asked(posts), key=repr) == sorted(prompts, key=repr)
    assert len(prompts) >= len(posts) + 2 * folds
    info = backend.engine.info
    assert [floor.key(prompt) for prompt in prompts] == [cache_key(prompt, info) for prompt in prompts]
    found = [Verdict.model_validate_json(one) for one in floor.verdicts([encode(post) for post in posts])]
    assessment, stamp = assess(SAFE, None), engine_reference(info)
    for post, verdict in zip(posts, found, strict=True):
        decision = policy.decide(post, SAFE)
        assert (verdict.action, verdict.disposition) == (decision.action, decision.disposition)
        provenance = Provenance(stamp, AssessedBy.ENGINE, None, Segments(), TIMES, verdict.judged_at)
        made = decide(post, assessment, policy, provenance).checked
        # The floor asks for no explanation; where the policy does, that is missing here, which decides.
        missing = {"action", "disposition", "policy", "verdict_id"} if post.kind == "response" else set()
        assert verdict.model_dump(exclude=missing) == made.model_dump(exclude=missing)


def test_an_engine_that_does_not_count_is_counted_beside_its_calls(tmp_path: Path) -> None:
    counting = Counting(str(tmp_path / "counts.jsonl"), 2)
    with counting.work(2):
        counting.tell()
    assert lines(tmp_path / "counts.jsonl")[0]["saturated_s"] >= 0
