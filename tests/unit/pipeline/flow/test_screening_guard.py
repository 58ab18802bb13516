"""A small guard before the large one: verdicts say who judged, doubt and faults go on, and samples can switch it off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter
from sluicegate.engines.backends.open import Backend
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.screen import GUARD, GuardManifest, ScreenGroup
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.schemas import CATEGORIES, Action, AssessedBy
from unit.pipeline.fakes import Bench
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Any]:
        self.asked += 1
        if self.away:
            raise EngineUnavailable("gone")
        return await super().score(prompts, timeout_s=timeout_s)


def settings(folder: Path, engine: FakeEngine, **more: Any) -> ScreenSettings:
    digest = engine.info.digest
    manifest = GuardManifest(name="small", guard=digest, data=digest, rows=900, groups=(GROUP,))
    (folder / GUARD).write_bytes(manifest.content())
    return ScreenSettings(path=folder, **{"guard": "small"} | more)


def screen_of(folder: Path, engine: FakeEngine, **more: Any) -> Screener:
    backend = Backend(engine, fake_prompter(SMALL), CATEGORIES)
    screen = open_screen(settings(folder, engine, **more), {"small": backend}, folds=True)
    assert screen is not None
    return screen


def bench(screen: Screener, tree: dict[str, Any] | None = None) -> Bench:
    return Bench(profile=RULES, engine=ScriptedEngine(), tree=tree or NEVER, policy=POLICY, screen=screen)


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
    await stand.run([english(number, "easy") for number in range(3)])
    assert {one.assessed_by for one in stand.outlet.verdicts} == {AssessedBy.ENGINE}
    assert small.asked == 1
    assert stand.metric("screen_faults_total") == 1


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
        open_screen(settings(tmp_path, engine, **more), backends, folds=True)


def test_another_bundle_than_the_measured_one_is_refused(tmp_path: Path) -> None:
    named, other = settings(tmp_path, Small()), FakeEngine(RULES)
    with pytest.raises(StartError, match="was measured with"):
        open_screen(named, {"small": Backend(other, fake_prompter(), CATEGORIES)}, folds=True)


def test_a_guard_without_its_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="that nobody measured"):
        ScreenSettings(guard="small")
