"""Adapters in policies: known ones only, wherever a policy meets the settings."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.command.check import policy_result
from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import InvalidPolicyError, Policy
from sluicegate.pipeline.policy.account import account_for
from sluicegate.pipeline.policy.checks import require_adapters
from sluicegate.pipeline.policy.diff import Diff
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.settings.tree import PolicySettings
from sluicegate.schemas import Post
from unit.pipeline.policy.test_diff import verdict

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "name: p\nversion: '1'\n"
TEENS = f"{HEAD}tenants:\n  teens:\n    rules:\n      adapter: teens\n"
SENTENCE = "6: tenants.teens.rules.adapter: the settings have no adapter `teens`; "
SETTINGS = "engine: {backend: fake, adapters: {teens: {}, bank: {}}}\n"


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(TEENS)
    return path


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(SETTINGS)
    return path


@pytest.mark.parametrize(
    ("known", "right"),
    [
        ((), "say under engine.adapters.teens where it is served; there are none"),
        (("zoo", "bank"), "say under engine.adapters.teens where it is served; there are bank, zoo"),
        (("teens2",), "did you mean `teens2`? else say under engine.adapters.teens where it is served"),
    ],
)
def test_a_strange_adapter_is_named_with_its_line(known: tuple[str, ...], right: str) -> None:
    policy = Policy.from_bytes(TEENS.encode(), "p.yaml")
    with pytest.raises(InvalidPolicyError) as caught:
        require_adapters(policy, known, "p.yaml")
    assert str(caught.value) == f"p.yaml:{SENTENCE}{right}"
    require_adapters(policy, (*known, "teens"), "p.yaml")


def test_a_worker_does_not_start_with_a_strange_adapter(policy_file: Path) -> None:
    with pytest.raises(PolicyError, match="the settings have no adapter `teens`"):
        PolicyFile(policy_file, adapters=["bank"])
    assert PolicyFile(policy_file, adapters=["teens"]).current.name == "p"


async def test_a_worker_keeps_its_policy_where_the_new_one_names_a_strange_adapter(policy_file: Path) -> None:
    file = PolicyFile(policy_file, adapters=["teens"], look_again_s=0.005)
    before, failed = file.current, list[str]()
    async with (
        asyncio.timeout(20),
        file.watched(
            engines={},
            changed=lambda policy: failed.append(policy.version),
            failed=lambda error: failed.append(str(error)),
        ),
    ):
        await asyncio.to_thread(policy_file.write_text, TEENS.replace("adapter: teens", "adapter: tense"))
        while not failed:
            await asyncio.sleep(0.002)
    assert file.current is before
    assert [f"{policy_file}:6: tenants.teens.rules.adapter" in fault for fault in failed] == [True]


@pytest.mark.parametrize("name", ["Teens", "a b", "", "../x", "-x", "x" * 65, "é"])
def test_a_name_that_could_be_no_adapter_is_refused(name: str) -> None:
    with pytest.raises(PolicyError, match=r"write a name from engine\.adapters of the settings"):
        Policy.parse({"name": "p", "version": "1", "rules": {"adapter": name}})


def test_check_looks_into_the_settings_where_they_are_given(policy_file: Path, settings_file: Path) -> None:
    def run(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(command.app, ["policy", "check", str(policy_file), *more])
        return done.exit_code, done.output

    assert run()[0] == 0  # nobody knows which settings it will meet
    assert run("--settings", str(settings_file))[0] == 0
    settings_file.write_text(SETTINGS.replace("teens", "tense"))
    code, output = run("--settings", str(settings_file))
    assert (code, output.strip()) == (
        1,
        f"{policy_file}:{SENTENCE}did you mean `tense`? else say under engine.adapters.teens where it is served",
    )
    code, output = run("--settings", str(settings_file), "--json")
    assert (code, json.loads(output)["faults"][0]["line"]) == (1, 6)


def test_the_diagnosis_looks_as_well(policy_file: Path) -> None:
    assert policy_result(PolicySettings(path=policy_file), ["teens"]).state == "ok"
    found = policy_result(PolicySettings(path=policy_file), ["bank"])
    assert found.state == "fault"
    assert SENTENCE in found.detail


def test_a_judgement_here_and_now_is_by_the_adapter_or_refused(
    policy_file: Path, settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sluicegate.pipeline.observe.logs.configure_logs", lambda _level: None
    )  # not for all later tests
    (tmp_path / "strict.json").write_text('{"rules": {"": "unsafe"}}')
    settings_file.write_text(
        f"engine: {{backend: fake, adapters: {{teens: {{fake_profile: {tmp_path / 'strict.json'}}}}}}}\n"
    )
    arguments = ["judge", "hello", "--policy", str(policy_file), "--json"]

    def run(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(command.app, [*arguments, *more])
        return done.exit_code, done.output if done.exit_code == 0 else str(done.exception or done.output)

    code, output = run("--settings", str(settings_file), "--tenant", "teens")
    document = json.loads(output.splitlines()[0])
    assert (code, document["engine"]["adapter"], document["severity"]) == (0, "teens", "unsafe")
    code, output = run("--settings", str(settings_file))
    assert (code, json.loads(output.splitlines()[0])["engine"]["adapter"]) == (0, None)
    code, output = run("--engine", "fake", "--tenant", "teens")
    assert code == 1
    assert "engine.adapters.teens: no such adapter, and the policy names it" in output


def test_explain_names_the_adapter_and_where_it_is_written() -> None:
    policy = Policy.from_bytes(TEENS.encode(), "p.yaml")
    account = account_for(policy, Post(id="1", text="x", tenant="teens"), None, None)
    assert (account.adapter, account.adapter_origin.place, account.adapter_origin.line) == (
        "teens",
        "tenants.teens.rules",
        6,
    )
    assert account_for(policy, Post(id="1", text="x"), None, None).adapter is None


def test_a_diff_does_not_guess_what_another_adapter_would_have_found() -> None:
    plain = Policy.from_bytes(HEAD.encode(), "p.yaml")
    found = Diff(plain, Policy.from_bytes(TEENS.encode(), "p.yaml"))
    found.add(verdict(0.1, tenant="teens"))
    found.add(verdict(0.1, tenant="others"))
    assert (found.undecidable, found.unchanged) == (1, 1)


def test_a_policy_without_adapters_keeps_the_digest_that_it_had_before_there_were_any() -> None:
    assert (
        Policy.load(None).digest == "sha256:dfd97a61e80799a74069f6a58c209ac6b53cda7f8e0506afb50a614f7a49a117"
    )
    with_one, without = Policy.from_bytes(TEENS.encode(), "p"), Policy.from_bytes(HEAD.encode(), "p")
    other = Policy.from_bytes(TEENS.replace("adapter: teens", "adapter: bank").encode(), "p")
    assert len({with_one.digest, without.digest, other.digest}) == 3


def test_a_policy_knows_which_adapters_some_post_may_get() -> None:
    def named(**more: object) -> frozenset[str | None]:
        return Policy.parse({"name": "p", "version": "1", **more}).adapters

    assert named() == {None}
    assert named(tenants={"teens": {"rules": {"adapter": "teens"}}}) == {None, "teens"}
    everybody = {"rules": {"adapter": "main"}}
    assert named(**everybody) == {"main"}
    assert named(**everybody, kinds={"prompt": {"adapter": None}}) == {None, "main"}
