"""A small guard as a screen: it is asked as it was measured, and whatever goes wrong is no answer, and a rest."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults, fake_prompter
from sluicegate.engines.errors import EngineUnavailable, ScreenError
from sluicegate.engines.protocol import Health, ItemFailure, Prompt, Scored
from sluicegate.engines.screen import GUARD, GuardManifest, GuardScreen, ScreenAnswer, ScreenGroup
from sluicegate.engines.text.prompting import Passage
from sluicegate.engines.text.segmenter import Segmenter
from sluicegate.schemas import FailureCode, Post, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROFILE = FakeProfile(rules={"kill": "unsafe", "good": "safe", "odd": "controversial"})
GROUP = ScreenGroup(
    kind="post",
    language="en",
    rows=1_000,
    longest=100,
    least_known=0.0,
    scripts=("LATIN",),
    safe=((0.9, 0.01), (0.99, 0.001)),
    unsafe=((0.95, 0.02),),
)


def manifest(engine: FakeEngine) -> GuardManifest:
    digest = engine.info.digest
    return GuardManifest(name="small", guard=digest, backend="fake", data=digest, rows=1_000, groups=(GROUP,))


class Small(FakeEngine):
    """Keeps its prompts, and can fail: for its posts, its health, or both."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(PROFILE, faults=faults)
        self.prompts: list[Prompt] = []
        self.asked: list[int] = []
        self.healths = 0
        self.fault: Exception | FailureCode | None = None
        self.hangs = False
        self.well = True

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.asked.append(len(prompts))
        self.prompts += prompts
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.fault, Exception):
            raise self.fault
        answers = await super().score(prompts, timeout_s=timeout_s)
        if self.fault is not None:
            answers[-1] = ItemFailure(self.fault, "said so")
        return answers

    async def health(self) -> Health:
        self.healths += 1
        return Health(ok=self.well, detail="" if self.well else "ill")


class Stand:
    """A guard screen with a clock that stands still."""

    def __init__(self, faults: Faults | None = None, **more: Any) -> None:
        self.engine, self.now = Small(faults), 100.0
        segmenter = Segmenter(fake_prompter(PROFILE), folds=True)
        arguments: dict[str, Any] = {"calibration": None, "timeout_s": 1.0, "clock": lambda: self.now} | more
        self.screen = GuardScreen(manifest(self.engine), self.engine, segmenter, **arguments)

    async def pause(self, seconds: float) -> None:
        """Let a pause pass: the next question has its health asked, beside the posts."""
        self.now += seconds
        assert await self.one("a good day") is None
        for _ in range(10):
            await asyncio.sleep(0)

    async def one(self, text: str, **fields: Any) -> ScreenAnswer | None:
        (answer,) = await self.screen.ask([post(text, **fields)])
        return answer


def post(text: str, **fields: Any) -> Post:
    return Post.model_validate({"id": "p", "text": text, "language": "en"} | fields)


async def test_it_answers_with_its_scores_and_the_error_that_was_measured_at_them() -> None:
    stand = Stand()
    safe, unsafe, unsure = await stand.screen.ask([post("a good day"), post("I kill you"), post("odd thing")])
    assert safe is not None
    assert (safe.severity, safe.error, round(safe.scores.safe, 2)) == ("safe", 0.01, 0.97)
    assert unsafe is not None
    assert (unsafe.severity, unsafe.error) == ("unsafe", 0.02)
    assert unsure is None
    assert stand.engine.asked == [3]
    assert (stand.screen.guard, stand.screen.calibrated) == (stand.engine.info, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"language": None},
        {"language": "de"},
        {"kind": "prompt"},
        {"context": "Hello?"},
        {"text": "good " * 30},
        {"text": "good я"},
        {"text": "good" + chr(0xE0041)},
        {"text": "\u202egood"},
    ],
)
async def test_what_it_was_not_measured_on_is_not_even_asked(fields: dict[str, Any]) -> None:
    stand = Stand()
    assert await stand.screen.ask([post(**{"text": "good"} | fields)]) == [None]
    assert stand.engine.asked == []


async def test_a_text_with_a_folded_form_is_the_large_guards() -> None:
    stand = Stand()
    assert await stand.one("a good day to k1ll you") is None
    assert stand.engine.asked == []


async def test_a_text_with_a_passage_that_is_judged_apart_is_the_large_guards() -> None:
    class Everything:
        def riskiest(self, text: str) -> Sequence[Passage]:
            return [Passage(0, 4)] if "day" in text else []

    engine = Small()
    segmenter = Segmenter(fake_prompter(PROFILE), folds=True, passages=Everything())
    screen = GuardScreen(
        manifest(engine), engine, segmenter, calibration=None, timeout_s=1.0, clock=lambda: 100.0
    )
    answers = await screen.ask([post("a good day"), post("a good one")])
    assert [one is not None for one in answers] == [False, True]
    assert engine.asked == [1]


async def test_it_is_shown_what_was_measured_and_no_hint_of_the_producers() -> None:
    stand = Stand()
    assert await stand.one("a good day", language="en-GB", region="GB", tenant="forum") is not None
    (measured,) = fake_prompter(PROFILE).build_many([Post(id="row", text="a good day")])
    assert stand.engine.prompts == [measured]


async def test_one_that_it_fails_on_is_no_answer_and_the_others_are() -> None:
    stand = Stand(Faults(error=Fault(marker="fail")))
    answers = await stand.screen.ask([post("a good day"), post("good to fail")])
    assert [one is not None for one in answers] == [True, False]
    assert (stand.screen.away, stand.screen.faults) == (None, 0)


async def test_labels_that_hold_little_of_the_probability_are_no_answer() -> None:
    class Doubtful(Small):
        async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
            found = await super().score(prompts, timeout_s=timeout_s)
            return [Scored(one.scores, 0.4) if isinstance(one, Scored) else one for one in found]

    engine = Doubtful()
    segmenter = Segmenter(fake_prompter(PROFILE))
    screen = GuardScreen(
        manifest(engine), engine, segmenter, calibration=None, timeout_s=1.0, clock=lambda: 100.0
    )
    assert await screen.ask([post("a good day")]) == [None]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (EngineUnavailable("gone"), "gone"),
        (ValueError("text of a post"), "a fault in the engine's client (ValueError)"),
        (FailureCode.TIMED_OUT, "1 of 1 prompts had no answer within 1 s"),
        (FailureCode.ENGINE_ERROR, "engine_error: said so"),
    ],
)
async def test_one_that_fails_rests_and_is_asked_for_its_health_before_any_post(
    fault: Exception | FailureCode, said: str
) -> None:
    stand = Stand()
    stand.engine.fault = fault
    assert await stand.one("a good day") is None
    assert (stand.screen.away, stand.screen.faults) == (said, 1)
    stand.engine.fault = None
    assert await stand.one("a good day") is None
    assert (stand.engine.asked, stand.engine.healths) == ([1], 0)
    await stand.pause(5)
    assert (stand.engine.asked, stand.engine.healths) == ([1], 1)
    assert await stand.one("a good day") is not None
    assert stand.screen.away is None


async def test_prompts_that_are_late_make_it_rest_and_those_that_are_not_count() -> None:
    stand = Stand()
    stand.engine.fault = FailureCode.TIMED_OUT
    answers = await stand.screen.ask([post("a good day"), post("good night")])
    assert [one is not None for one in answers] == [True, False]
    assert stand.screen.away == "1 of 2 prompts had no answer within 1 s"


async def test_of_a_backlog_it_reads_what_it_has_time_for_and_does_not_rest() -> None:
    """A call for all of it would be late, and make it rest for as long as there is a backlog."""
    stand = Stand(timeout_s=2.0)
    score = stand.engine.score

    async def slow(prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        stand.now += len(prompts) / 100
        return await score(prompts, timeout_s=timeout_s)

    stand.engine.score = slow  # type: ignore[method-assign]
    posts = [post(f"a good day, number {number}") for number in range(256)]
    found = await stand.screen.ask(posts)
    room = stand.engine.info.useful_prompts
    assert stand.engine.asked == [room] * 3  # 0.64 s each
    assert [answer is not None for answer in found] == [True] * 3 * room + [False] * room
    assert stand.screen.away is None


async def test_one_that_keeps_no_deadline_is_left_at_ours() -> None:
    stand = Stand(timeout_s=0.01)
    stand.engine.hangs = True
    async with asyncio.timeout(30):
        assert await stand.one("a good day") is None
    assert stand.screen.away == "no answer within 0.01 s"


async def test_one_that_hangs_leaves_the_least_patient_post_half_of_its_wait() -> None:
    stand = Stand(timeout_s=2.0, patience_s=lambda: 0.04)
    stand.engine.hangs = True
    async with asyncio.timeout(30):
        assert await stand.one("a good day") is None
    assert stand.screen.away == "no answer within 0.01 s"


async def test_a_health_that_hangs_is_a_pause_more() -> None:
    stand = Stand(timeout_s=0.01)
    stand.engine.fault = EngineUnavailable("gone")
    await stand.one("a good day")
    stand.engine.fault, asked = None, asyncio.Event()

    async def hang() -> Health:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    stand.engine.health = hang  # type: ignore[method-assign]
    stand.now += 5
    await stand.one("a good day")
    await asked.wait()
    async with asyncio.timeout(30):
        while stand.screen.away == "gone":
            await asyncio.sleep(0)
    assert stand.screen.away == "no answer within 0.01 s"
    assert stand.engine.asked == [1]


async def test_the_pause_grows_to_a_minute_until_posts_are_answered_again() -> None:
    stand = Stand()
    stand.engine.fault, stand.engine.well = EngineUnavailable("gone"), False
    await stand.one("a good day")
    for number, pause_s in enumerate((5, 10, 20, 40, 60, 60)):
        await stand.pause(pause_s - 0.1)
        assert stand.engine.healths == number
        await stand.pause(0.1)
        assert stand.engine.healths == number + 1
    assert (stand.screen.away, stand.screen.faults) == ("ill", 1)
    stand.engine.fault, stand.engine.well = None, True
    await stand.pause(60)
    assert await stand.one("a good day") is not None
    stand.engine.fault = EngineUnavailable("gone")
    await stand.one("a good day")
    stand.engine.fault = None
    await stand.pause(5)
    assert await stand.one("a good day") is not None


async def test_the_policy_sees_calibrated_scores_and_the_table_those_before() -> None:
    lower = Scores(safe=0.5, controversial=0.3, unsafe=0.2)
    stand = Stand(calibration=SimpleNamespace(calibrated=lambda _scores, _kind, _language: lower))
    found = await stand.one("a good day")
    assert found is not None
    assert (found.error, found.scores) == (0.01, lower)


def test_a_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = manifest(FakeEngine(PROFILE))
    (tmp_path / GUARD).write_bytes(written.content())
    assert GuardManifest.load(tmp_path) == written
    other = written.model_copy(update={"guard": "sha256:" + "0" * 64})
    assert other.digest != written.digest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "name: Field required"),
        (
            manifest(FakeEngine(PROFILE)).content().replace(b'"backend": "fake",', b""),
            "backend: Field required",
        ),
        (b"no JSON", "document: Invalid JSON"),
        (b" " * (2 << 20), "has more than"),
        (None, "cannot be read"),
    ],
)
def test_a_folder_that_holds_no_small_guard_is_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / GUARD).write_bytes(content)
    with pytest.raises(ScreenError, match=said) as found:
        GuardManifest.load(tmp_path)
    assert "sluicegate adapt screen-guard" in str(found.value)


def test_two_groups_of_one_kind_and_language_are_refused() -> None:
    digest = FakeEngine(PROFILE).info.digest
    with pytest.raises(ValueError, match="keep one"):
        GuardManifest(name="small", guard=digest, backend="fake", data=digest, rows=1, groups=(GROUP, GROUP))
