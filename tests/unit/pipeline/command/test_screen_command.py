"""``sluicegate screen`` against the embedded broker, and what settings and `sluicegate check` say of a screen."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka import Producer
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from sluicegate.engines.backends import open_backends
from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.errors import ScreenError
from sluicegate.engines.screen import GUARD, GuardManifest
from sluicegate.pipeline import command
from sluicegate.pipeline.command.check import policy_result, screen_result
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.engine_choice import engine_choices
from sluicegate.pipeline.settings.sections import EngineSettings, PolicySettings, ScreenSettings
from sluicegate.pipeline.settings.tree import Settings, TopicSettings
from support.scripted_screen import DIGEST
from unit.pipeline.shortcuts.test_switch import OTHER, TURN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CONTROL = TopicSettings().control
WHOLE = (Path(__file__).parents[4] / "docs" / "shortcuts.md").read_text(encoding="utf-8")
PAGE = WHOLE.partition("\n## The screen\n")[2]


def run(bootstrap: str, *arguments: str) -> Result:
    cleared = dict.fromkeys(name for name in os.environ if name.startswith("SLUICEGATE_"))
    given = {"SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": bootstrap}
    return CliRunner().invoke(command.app, [*arguments], env={**cleared, **given})


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(topics=[CONTROL]) as started:
        yield started


def publish(bootstrap: str, *records: tuple[bytes, bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2})
    for key, value in records:
        producer.produce(CONTROL, value, key)
    assert producer.flush(20) == 0


async def test_it_shows_what_is_off_and_resets_it_once(broker: EmbeddedBroker) -> None:
    def call(*arguments: str) -> Any:
        return asyncio.to_thread(run, broker.address, "screen", *arguments)

    assert (await call("status")).stdout == "no screen was switched off\n"
    other = TURN.model_copy(update={"screen": OTHER})
    await asyncio.to_thread(
        publish, broker.address, (TURN.key, TURN.encode()), (other.key, other.encode()), (b"x", b"{")
    )
    shown = await call("status")
    assert f"{DIGEST}: off since 2026-01-01T00:00:00+00:00 by worker-1: wrong\n" in shown.stdout
    assert "1 records are not what they claim" in shown.stderr

    done = await call("reset", DIGEST, "--reason", "looked at")
    assert (done.exit_code, done.stdout) == (0, f"{DIGEST}: reset\n")
    found = [json.loads(line) for line in (await call("status", "--json")).stdout.splitlines()]
    assert [(one["screen"], one["state"], one["generation"]) for one in found] == [
        (OTHER, "open", 0),
        (DIGEST, "closed", 1),
    ]
    assert found[1]["why"] == "looked at"
    again = await call("reset", DIGEST, "--reason", "twice")
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (
        1,
        "no such screen is off; `sluicegate screen status` shows which are",
    )
    assert (await call("reset", OTHER, "--reason", "two\nlines")).exit_code == 2


def served_small(tmp_path: Path) -> tuple[EngineSettings, ScreenSettings]:
    """A large guard and a small one, both fake, and the measurement of the small one."""
    profile = tmp_path / "small.json"
    profile.write_text('{"seed": 7}')
    engine = EngineSettings.model_validate(
        {"backend": "fake", "adapters": {"small": {"fake_profile": str(profile)}}}
    )
    digest = FakeEngine(FakeProfile(seed=7)).info.digest
    manifest = GuardManifest(name="small", guard=digest, backend="fake", data=digest, rows=900, groups=())
    folder = tmp_path / "guard"
    folder.mkdir()
    (folder / GUARD).write_bytes(manifest.content())
    return engine, ScreenSettings(path=folder, guard="small", digest=manifest.digest)


def test_a_screen_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    engine, screen = served_small(tmp_path)
    backends = open_backends(engine_choices(engine))
    assert open_screen(ScreenSettings(), backends) is None
    found = open_screen(screen, backends)
    assert found is not None
    assert found.digest == screen.digest
    with pytest.raises(StartError, match=r"screen\.digest pins sha256:6"):
        open_screen(screen.model_copy(update={"digest": OTHER}), backends)


def test_check_loads_the_screen_and_says_how_to_pin_it(tmp_path: Path) -> None:
    engine, screen = served_small(tmp_path)
    assert screen_result(screen, engine).detail == "loaded, the pinned one"
    found = screen_result(screen.model_copy(update={"digest": None}), engine)
    assert found.state == "ok"
    assert f"SLUICEGATE_SCREEN__DIGEST={screen.digest}" in found.detail


@pytest.mark.parametrize("guard", [None, "small"])
def test_a_folder_of_a_light_screen_is_refused_with_what_to_do_now(tmp_path: Path, guard: str | None) -> None:
    for name in ("manifest.json", "weights.safetensors"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(StartError) as caught:
        open_screen(ScreenSettings(path=tmp_path, guard=guard), {})
    said = str(caught.value)
    assert said.startswith(f"screen.path {tmp_path}: there is no {GUARD}")
    assert (
        "leave screen.path and screen.digest out, or name the folder that `sluicegate adapt screen-guard`"
        in said
    )


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda _: None])
def test_a_small_guards_folder_that_has_no_measurement_is_told_as_that(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    engine, screen = served_small(tmp_path)
    make(other := tmp_path / "other")
    with pytest.raises(ScreenError, match=r"guard\.json: cannot be read .*; measure the guard again"):
        open_screen(screen.model_copy(update={"path": other}), open_backends(engine_choices(engine)))


@pytest.mark.parametrize("wrong", [{"sample_share": 1.1}, {"off_confidence": 1}, {"off_samples": 1}])
def test_values_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScreenSettings(**wrong)


def test_the_settings_and_the_policy_of_the_page_are_ones_that_a_worker_takes() -> None:
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    policies = [one for one in blocks if "rules" in one or "tenants" in one]
    (policy,) = policies
    assert Policy.parse(policy).scope.tenants == {"forum"}
    (guarded,) = (Settings(**one) for one in blocks if one not in policies)
    assert guarded.screen.path == Path("/screens/guard")
    assert guarded.screen.guard in guarded.engine.adapters


def test_check_says_what_a_screen_that_cannot_be_loaded_lacks(tmp_path: Path) -> None:
    found = screen_result(ScreenSettings(path=tmp_path / "absent"), EngineSettings())
    assert found.state == "fault"
    assert found.fix is not None


def test_check_says_that_a_policy_for_other_engines_leaves_the_small_guard_without_a_word(
    tmp_path: Path,
) -> None:
    profile = tmp_path / "small.json"
    profile.write_text('{"seed": 7}')
    engine = EngineSettings.model_validate(
        {"backend": "fake", "adapters": {"small": {"fake_profile": str(profile)}}}
    )
    large, small = FakeEngine().info.digest, FakeEngine(FakeProfile(seed=7)).info.digest
    path = tmp_path / "policy.yaml"
    path.write_text(f'name: p\nversion: "1"\nengines: ["{large}"]\n')
    found = policy_result(PolicySettings(path=path), ["small"], engine, "small")
    assert found.state == "fault"
    assert f"the small guard `small` is {small}" in found.detail
    assert policy_result(PolicySettings(path=path), ["small"], engine, None).state == "ok"
    path.write_text(f'name: p\nversion: "1"\nengines: ["{large}", "{small}"]\n')
    assert policy_result(PolicySettings(path=path), ["small"], engine, "small").state == "ok"


def test_a_small_guard_holds_posts_for_seconds_and_no_stall_is_seen_in_them() -> None:
    with pytest.raises(ValidationError):
        ScreenSettings(guard_timeout_s=11)
    screen = ScreenSettings(path=Path("s"), guard="small", guard_timeout_s=10)
    assert Settings(screen=screen).stall_after_s == Settings().stall_after_s + 10
