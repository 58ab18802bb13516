"""A small guard before the large one: verdicts say who judged, doubt and faults go on, and samples can switch it off."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter
from sluicegate.engines.backends.open import Backend
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.screen import GUARD, GuardManifest, ScreenGroup
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.flow import screening
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.schemas import CATEGORIES, Action, AssessedBy
from unit.pipeline.fakes import Bench, MemoryDelivery
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from sluicegate.engines.protocol import Health
    from sluicegate.engines.screen import Screener

POLICY = {"name": "p", "version": "1", "rules": {"screen": {"tolerance": 0.01}}}
# It has learnt less: a word of harm that it does not know is safe to it.
SMALL = FakeProfile(rules={"easy": "safe", "[odd]": "controversial"}, seed=7)
NEVER = {"screen": {"sample_share": 0}}
STEPS = ((0.9, 0.005),)
GROUP = ScreenGroup(
    kind="post", language="en", rows=900, longest=200, least_known=0, scripts=("LATIN",), safe=STEPS
)


class Small(FakeEngine):
    def __init__(self) -> None:
        super().__init__(SMALL)
        self.away = False
        self.asked = 0
        self.healths = 0

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Any]:
        self.asked += 1
        if self.away:
            raise EngineUnavailable("gone")
        return await super().score(prompts, timeout_s=timeout_s)

    async def health(self) -> Health:
        self.healths += 1
        return await super().health()


def settings(folder: Path, engine: FakeEngine, **more: Any) -> ScreenSettings:
    digest = engine.info.digest
    manifest = GuardManifest(
        name="small", guard=digest, backend="fake", data=digest, rows=900, groups=(GROUP,)
    )
    (folder / GUARD).write_bytes(manifest.content())
    return ScreenSettings(path=folder, **{"guard": "small"} | more)


def screen_of(folder: Path, engine: FakeEngine, **more: Any) -> Screener:
    backend = Backend(engine, fake_prompter(SMALL), CATEGORIES)
    screen = open_screen(settings(folder, engine, **more), {"small": backend})
    assert screen is not None
    return screen


def bench(screen: Screener, tree: dict[str, Any] | None = None, **policy: Any) -> Bench:
    return Bench(
        profile=RULES, engine=ScriptedEngine(), tree=tree or NEVER, policy=POLICY | policy, screen=screen
    )


async def in_turn(
    stand: Bench, *posts: dict[str, Any], after: Callable[[int], None] = lambda _: None
) -> None:
    """Carry posts, each once the one before it is answered; ``after`` is told how many are."""

    async def source() -> AsyncIterator[list[MemoryDelivery]]:
        for number, one in enumerate(posts):
            yield [stand.delivery(one, number)]
            while len(stand.outlet.verdicts) <= number:
                await asyncio.sleep(0.001)
            after(number + 1)

    async with asyncio.timeout(30):
        await stand.flow.run(source())


def english(number: int, text: str) -> dict[str, Any]:
    return post(number, text, language="en")


async def test_what_it_is_sure_of_is_its_own_verdict_and_the_rest_is_the_large_ones(tmp_path: Path) -> None:
    small = Small()
    stand = bench(screen_of(tmp_path, small))
    await stand.run([english(0, "easy"), english(1, "[odd] thing"), post(2, "easy")])
    sure, doubted, untold = (stand.outlet.verdict(f"p{number}") for number in range(3))
    assert (sure.assessed_by, sure.action) == (AssessedBy.SCREEN, Action.ALLOW)
    assert (sure.engine.digest, sure.engine.backend) == (small.info.digest, "fake")
    for other in (doubted, untold):
        assert other.assessed_by is AssessedBy.ENGINE
        assert other.engine.digest == stand.engine.info.digest != small.info.digest
    assert len(stand.flow.cache) == 2  # what the small one found is kept for nobody


async def test_while_it_is_away_every_post_is_the_large_ones(tmp_path: Path) -> None:
    small = Small()
    small.away = True
    stand = bench(screen_of(tmp_path, small))
    with capture_logs() as logs:
        await in_turn(stand, *(english(number, f"easy {number}") for number in range(3)))
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}
    assert small.asked == 1
    assert (stand.metric("screen_faults_total"), stand.metric("screen_guard_away")) == (1, 1)
    assert stand.flow.screen_state == "the small guard rests: gone"
    assert [one["event"] for one in logs if one["log_level"] == "warning"] == ["screen_guard_rests"]


async def test_one_that_rested_is_asked_again_once_it_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, now = Small(), 100.0
    small.away = True
    monkeypatch.setattr(screening, "time", SimpleNamespace(monotonic=lambda: now))
    stand = bench(screen_of(tmp_path, small))

    def pass_the_pause(answered: int) -> None:
        nonlocal now
        if answered == 1:
            small.away = False
            now += 5

    await in_turn(stand, *(english(number, f"easy {number}") for number in range(3)), after=pass_the_pause)
    # The second has its health asked, and does not wait for it.
    by = [stand.outlet.verdict(f"p{number}").assessed_by for number in range(3)]
    assert by == [AssessedBy.ENGINE, AssessedBy.ENGINE, AssessedBy.SCREEN]
    assert (small.healths, small.asked) == (1, 2)
    assert (stand.metric("screen_guard_away"), stand.flow.screen_state) == (0, "at work")


async def test_under_a_policy_that_names_other_engines_it_answers_nothing(tmp_path: Path) -> None:
    small = Small()
    large = ScriptedEngine().info.digest
    stand = bench(screen_of(tmp_path, small), engines=[large])
    with capture_logs() as logs:
        await stand.run([english(number, "easy") for number in range(3)])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}
    assert small.asked == 0
    assert stand.metric("screen_guard_barred") == 1
    assert stand.flow.screen_state == (
        f"answers nothing: the policy names engines, and not the small guard {small.info.digest}"
    )
    assert [one["guard"] for one in logs if one["event"] == "screen_guard_barred"] == [small.info.digest]


async def test_under_a_policy_that_names_it_beside_the_large_one_it_answers(tmp_path: Path) -> None:
    small = Small()
    stand = bench(screen_of(tmp_path, small), engines=[ScriptedEngine().info.digest, small.info.digest])
    await stand.run([english(0, "easy")])
    assert stand.outlet.verdict("p0").assessed_by is AssessedBy.SCREEN
    assert stand.metric("screen_guard_barred") == 0


async def test_a_policy_that_comes_while_it_judges_takes_its_answer_back(tmp_path: Path) -> None:
    small = Small()
    stand = bench(screen_of(tmp_path, small))
    other = Policy.parse(POLICY | {"version": "2", "engines": [ScriptedEngine().info.digest]})
    score = small.score

    async def late(prompts: Sequence[Any], *, timeout_s: float) -> list[Any]:
        stand.policy = other
        return await score(prompts, timeout_s=timeout_s)

    small.score = late  # type: ignore[method-assign]
    await stand.run([english(0, "easy")])
    assert small.asked == 1
    assert stand.outlet.verdict("p0").assessed_by is AssessedBy.ENGINE


async def test_of_posts_that_it_judges_as_their_own_engine_it_says_nothing(tmp_path: Path) -> None:
    small = Small()
    backend = Backend(small, fake_prompter(SMALL), CATEGORIES)
    stand = Bench(
        profile=RULES,
        engine=ScriptedEngine(),
        adapters={"small": backend},
        tree={"screen": {"sample_share": 1, "guard": "small", "path": str(tmp_path)}},
        policy={**POLICY, "rules": {"screen": {"tolerance": 0.01}, "adapter": "small"}},
        screen=screen_of(tmp_path, small),
    )
    await stand.run([english(number, f"easy {number}") for number in range(3)])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}
    assert stand.metric("screen_samples_total", screen="allow", engine="allow") == 0


async def test_while_the_policy_has_it_judge_posts_of_its_own_it_screens_no_others(tmp_path: Path) -> None:
    small = Small()
    policy = {
        **POLICY,
        "rules": {"screen": {"tolerance": 0.01}},
        "tenants": {"another": {"rules": {"adapter": "small"}}},
    }
    stand = Bench(
        profile=RULES,
        engine=ScriptedEngine(),
        adapters={"small": Backend(small, fake_prompter(SMALL), CATEGORIES)},
        tree={"screen": {"sample_share": 1, "guard": "small", "path": str(tmp_path)}},
        policy=policy,
        screen=screen_of(tmp_path, small),
    )
    await stand.run([english(0, "easy")])
    assert small.asked == 0
    assert stand.outlet.verdict("p0").assessed_by is AssessedBy.ENGINE
    assert stand.metric("screen_guard_barred") == 1
    assert "adapter small" in stand.flow.screen_state


async def test_one_that_calls_harm_safe_is_switched_off_by_its_samples(tmp_path: Path) -> None:
    stand = bench(screen_of(tmp_path, Small()), {"screen": {"sample_share": 1}})
    await stand.run([english(number, "[bad] easy") for number in range(40)])
    digest = stand.flow.switch.newest[0].screen
    assert stand.flow.switch.is_off(digest)
    assert {one.action for one in stand.outlet.verdicts} == {
        Action.BLOCK
    }  # samples are judged by the large one


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        ((), {}, "screen.guard small: this worker has no such engine"),
        (("small",), {"guard": None}, "say in screen.guard which of engine.adapters it is"),
        (("small",), {"digest": "sha256:" + "0" * 64}, "screen.digest pins"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_start(
    tmp_path: Path, names: Sequence[str], more: dict[str, Any], said: str
) -> None:
    engine = Small()
    backends: dict[str | None, Backend] = {
        name: Backend(engine, fake_prompter(SMALL), CATEGORIES) for name in names
    }
    with pytest.raises(StartError, match=said):
        open_screen(settings(tmp_path, engine, **more), backends)


def test_another_bundle_than_the_measured_one_is_refused(tmp_path: Path) -> None:
    named, other = settings(tmp_path, Small()), FakeEngine(RULES)
    with pytest.raises(StartError, match="was measured with"):
        open_screen(named, {"small": Backend(other, fake_prompter(), CATEGORIES)})


@pytest.mark.parametrize("backend", ["tensorrt_llm", "llama_cpp"])
def test_one_that_would_take_the_workers_own_room_is_refused(tmp_path: Path, backend: str) -> None:
    small = Small()
    named = settings(tmp_path, small)
    small.info = replace(small.info, backend=backend)
    with pytest.raises(StartError, match=r"set engine\.backend to completions"):
        open_screen(named, {"small": Backend(small, fake_prompter(SMALL), CATEGORIES)})


def test_the_large_guard_cannot_be_its_own_small_one(tmp_path: Path) -> None:
    backend = Backend(Small(), fake_prompter(SMALL), CATEGORIES)
    with pytest.raises(StartError, match="would check itself"):
        open_screen(settings(tmp_path, Small()), {None: backend, "small": backend})


def test_what_was_measured_behind_another_backend_is_refused(tmp_path: Path) -> None:
    small = Small()
    named = settings(tmp_path, small)
    small.info = replace(small.info, backend="completions")
    with pytest.raises(StartError, match=r"completions serves it, and .* was measured with fake"):
        open_screen(named, {"small": Backend(small, fake_prompter(SMALL), CATEGORIES)})


def test_a_guard_without_its_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="that nobody measured"):
        ScreenSettings(guard="small")


def test_one_on_the_server_of_another_engine_is_refused(tmp_path: Path) -> None:
    small = Small()
    its = Backend(small, fake_prompter(SMALL), CATEGORIES, server="http://guard:8000")
    other = Backend(FakeEngine(RULES), fake_prompter(), CATEGORIES, server="http://guard:8000")
    for beside in (None, "another"):
        with pytest.raises(StartError, match="a server of its own"):
            open_screen(settings(tmp_path, small), {"small": its, beside: other})
