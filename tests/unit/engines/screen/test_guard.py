"""A small guard as a screen: it answers by the part that it finds least safe, and whatever goes wrong is no answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults, fake_prompter
from sluicegate.engines.errors import EngineUnavailable, ScreenError
from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
from sluicegate.engines.screen import GUARD, GuardManifest, GuardScreen, ScreenAnswer, ScreenGroup
from sluicegate.engines.text.segmenter import Segmenter
from sluicegate.schemas import Post, Scores

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
    return GuardManifest(name="small", guard=digest, data=digest, rows=1_000, groups=(GROUP,))


class Small(FakeEngine):
    """Counts its prompts, and can be away."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(PROFILE, faults=faults)
        self.asked: list[int] = []
        self.away = False

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.asked.append(len(prompts))
        if self.away:
            raise EngineUnavailable("gone")
        return await super().score(prompts, timeout_s=timeout_s)


class Stand:
    """A guard screen with a clock that stands still."""

    def __init__(self, faults: Faults | None = None, **more: Any) -> None:
        self.engine, self.now = Small(faults), 100.0
        segmenter = Segmenter(fake_prompter(PROFILE), folds=True)
        arguments: dict[str, Any] = {"calibration": None, "timeout_s": 1.0, "clock": lambda: self.now} | more
        self.screen = GuardScreen(manifest(self.engine), self.engine, segmenter, **arguments)

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


async def test_a_harmful_folded_form_makes_a_text_no_safe_one() -> None:
    stand = Stand()
    found = await stand.one("a good day to k1ll you")
    assert found is not None
    assert (found.severity, stand.engine.asked) == ("unsafe", [2])


async def test_a_part_that_it_fails_on_is_no_answer() -> None:
    stand = Stand(Faults(error=Fault(marker="k1ll")))
    assert await stand.one("a good day") is not None
    assert await stand.one("a good day to k1ll") is None


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


async def test_one_that_is_away_is_left_alone_for_some_seconds() -> None:
    stand = Stand()
    stand.engine.away = True
    with pytest.raises(EngineUnavailable):
        await stand.one("a good day")
    stand.engine.away = False
    assert await stand.one("a good day") is None
    assert stand.engine.asked == [1]
    stand.now += 6
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
        GuardManifest(name="small", guard=digest, data=digest, rows=1, groups=(GROUP, GROUP))
