"""``sluicegate screen`` against the embedded broker, and what the role of a worker changes in settings and commands."""

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

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.screen.model import Screen
from sluicegate.pipeline import command
from sluicegate.pipeline.command.check import policy_result, screen_result
from sluicegate.pipeline.errors import SettingsError, StartError
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.sections import EngineSettings, PolicySettings, ScreenSettings
from sluicegate.pipeline.settings.tree import Settings, TopicSettings, load_settings
from support.scripted_screen import DIGEST, load
from unit.pipeline.shortcuts.test_switch import OTHER, TURN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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


def test_an_edge_needs_a_screen_and_a_way_on() -> None:
    with pytest.raises(SettingsError, match=r"worker\.role 'screen' needs screen\.path"):
        load_settings(worker={"role": "screen"})
    for name in ("posts", "verdicts.allow", "sluicegate.control"):
        with pytest.raises(SettingsError, match="what an edge forwards would come back to it"):
            load_settings(worker={"role": "screen"}, screen={"path": "s"}, topics={"forward": name})
    centre = load_settings(topics={"posts": "posts.central"})  # which is where an edge forwards to
    assert centre.topics.posts == centre.topics.forward


def test_the_role_of_the_command_and_of_the_environment_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_WORKER__ROLE", "judge")
    monkeypatch.setenv("SLUICEGATE_SCREEN__PATH", "s")
    done = CliRunner().invoke(command.app, ["worker", "--role", "screen"])
    assert isinstance(done.exception, SettingsError)
    assert str(done.exception) == (
        "--role screen: SLUICEGATE_WORKER__ROLE says judge; leave one of the two out"
    )


def test_a_screen_that_is_not_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "load", staticmethod(load))
    assert open_screen(ScreenSettings(), {}) is None
    found = open_screen(ScreenSettings(path=Path("s"), digest=DIGEST), {})
    assert found is not None
    assert found.digest == DIGEST
    with pytest.raises(StartError, match=r"screen\.digest pins sha256:6"):
        open_screen(ScreenSettings(path=Path("s"), digest=OTHER), {})


@pytest.mark.parametrize("wrong", [{"sample_share": 1.1}, {"off_confidence": 1}, {"off_samples": 1}])
def test_values_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScreenSettings(**wrong)


def test_the_settings_and_the_policy_of_the_page_are_ones_that_a_worker_takes() -> None:
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    policies = [one for one in blocks if "rules" in one or "tenants" in one]
    (policy,) = policies
    assert Policy.parse(policy).scope.tenants == {"forum"}
    on, guarded, edge, centre = (Settings(**one) for one in blocks if one not in policies)
    assert (on.worker.role, on.screen.path) == ("judge", Path("/screens/first"))
    assert guarded.screen.guard in guarded.engine.adapters
    assert (edge.worker.role, edge.topics.forward) == ("screen", centre.topics.posts)
    assert centre.screen.from_edge
    assert edge.kafka.group != centre.kafka.group


def test_check_looks_at_the_screen_of_an_edge_and_at_no_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text('name: p\nversion: "1"\nrules: {adapter: teens}\n')  # the centre has it
    monkeypatch.setattr(Screen, "load", staticmethod(load))
    for name, value in {"WORKER__ROLE": "screen", "SCREEN__PATH": "s", "POLICY__PATH": str(policy)}.items():
        monkeypatch.setenv(f"SLUICEGATE_{name}", value)
    monkeypatch.setenv("SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = CliRunner().invoke(command.app, ["check", "--json"])
    found = {one["subject"]: one for one in json.loads(done.stdout)["results"]}
    assert (found["screen"]["state"], found["policy"]["state"]) == ("ok", "ok")
    assert f"SLUICEGATE_SCREEN__DIGEST={DIGEST}" in found["screen"]["detail"]
    assert not {"engine", "bundle"} & found.keys()


def test_check_says_what_a_screen_that_cannot_be_loaded_lacks(tmp_path: Path) -> None:
    found = screen_result(ScreenSettings(path=tmp_path / "absent"))
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
