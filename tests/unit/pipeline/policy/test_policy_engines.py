"""Policies that name the engines that they are for: what is no other engine's is never decided by them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from sluicegate.pipeline import command
from sluicegate.pipeline.command.check import policy_result
from sluicegate.pipeline.command.policy_case import table
from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.policy import InvalidPolicyError, Policy
from sluicegate.pipeline.policy.checks import OtherEnginesError, require_engines
from sluicegate.pipeline.policy.diff import Diff
from sluicegate.pipeline.policy.file import PolicyFile
from sluicegate.pipeline.settings.tree import EngineSettings, PolicySettings
from unit.pipeline.policy.test_diff import verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

OLD, NEW, THIRD = (f"sha256:{digit * 64}" for digit in "abc")
HEAD = "name: p\nversion: '1'\n"


def text(*engines: str, more: str = "") -> str:
    return f"{HEAD}engines: [{', '.join(engines)}]\n{more}"


def policy(*engines: str, more: str = "") -> Policy:
    return Policy.from_bytes(text(*engines, more=more).encode(), "p.yaml")


def refusal(*engines: str, of: dict[str | None, str], more: str = "") -> str:
    with pytest.raises(OtherEnginesError) as caught:
        require_engines(policy(*engines, more=more), of, "p.yaml")
    return str(caught.value)


def test_both_sides_and_the_line_are_named() -> None:
    assert refusal(NEW, OLD, of={None: THIRD}) == (
        f"p.yaml:3: engines: the policy is for {OLD}, {NEW}, and the engine is {THIRD}; bring the policy and the "
        "engine that belong together, or name this one once the thresholds fit its scores"
    )
    require_engines(policy(NEW, OLD), {None: OLD}, "p.yaml")


def test_a_policy_that_names_none_is_for_any() -> None:
    require_engines(Policy.from_bytes(HEAD.encode(), "p"), {None: THIRD}, "p.yaml")
    require_engines(policy(NEW), {}, "p.yaml")  # an edge asks no engine


def test_each_engine_that_some_post_may_get_has_to_be_named() -> None:
    teens = "tenants: {teens: {rules: {adapter: teens}}}\n"
    engines: dict[str | None, str] = {None: OLD, "teens": NEW, "unused": THIRD}
    require_engines(policy(OLD, NEW, more=teens), engines, "p.yaml")
    assert f"and the engine of adapter `teens` is {NEW};" in refusal(OLD, of=engines, more=teens)
    assert f"and the engine is {OLD};" in refusal(NEW, of=engines, more=teens)
    everybody = "rules: {adapter: teens}\n"
    require_engines(policy(NEW, more=everybody), engines, "p.yaml")  # no post gets the engine's own


@pytest.mark.parametrize(
    "written",
    ["[]", "null", "", "[sha256:abc]", f"[{'a' * 64}]", f"[sha256:{'A' * 64}]", "[null]", f"{{a: {OLD}}}"],
)
def test_a_list_that_names_no_digest_is_a_fault_and_never_any_engine(written: str) -> None:
    with pytest.raises(
        InvalidPolicyError, match=r"p:3: engines\S*: .* cannot be used; write a list of digests"
    ):
        Policy.from_bytes(f"{HEAD}engines: {written}\n".encode(), "p")


def test_one_digest_needs_no_list() -> None:
    assert Policy.from_bytes(f"{HEAD}engines: {OLD}\n".encode(), "p").engines == {OLD}


def test_the_list_changes_no_digest() -> None:
    """It decides nothing of a post: an open breaker stays open where a digest is added."""
    assert policy(OLD).digest == policy(OLD, NEW).digest == Policy.from_bytes(HEAD.encode(), "p").digest
    assert policy(OLD) != policy(NEW)


class Watched:
    """A policy file beside an engine, and what was told of it."""

    def __init__(self, path: Path, content: str, engine: str) -> None:
        path.write_text(content)
        self.path = path
        self.file = PolicyFile(path, look_again_s=0.005)
        self.engine = engine
        self.changed: list[Policy] = []
        self.failed: list[PolicyError] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Event]:
        async with (
            asyncio.timeout(20),
            self.file.watched(
                engines={None: self.engine}, changed=self.changed.append, failed=self.failed.append
            ) as fits,
        ):
            yield fits

    async def write(self, content: str, told: Callable[[], int]) -> None:
        """Change the file, and wait until one more is told."""
        before = told()
        await asyncio.to_thread(self.path.write_text, content)
        while told() == before:
            await asyncio.sleep(0.002)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


async def test_a_running_worker_keeps_its_policy_and_a_rollback_ends_the_alarm(path: Path) -> None:
    watched = Watched(path, text(OLD), OLD)
    before = watched.file.current
    with capture_logs() as logs:
        async with watched.running() as fits:
            assert fits.is_set()
            await watched.write(text(NEW), lambda: len(watched.failed))
            assert watched.file.current is before
            assert fits.is_set()
            await watched.write(text(OLD), lambda: len(watched.changed))
    (error,) = watched.failed
    assert isinstance(error, OtherEnginesError)
    (line,) = [line for line in logs if line["event"] == "policy_for_other_engines"]
    assert (line["fault"], line["in_force"]) == (str(error), before.digest)
    assert NEW in line["fault"]
    assert OLD in line["fault"]
    assert "policy_reload_failed" not in {line["event"] for line in logs}


async def test_a_worker_that_begins_with_a_policy_for_others_waits_for_another_one(path: Path) -> None:
    watched = Watched(path, text(OLD), NEW)
    async with watched.running() as fits:
        assert not fits.is_set()
        assert [type(error) for error in watched.failed] == [OtherEnginesError]
        for strange in (text(THIRD), f"{HEAD}rules: [\n"):  # for others again, and broken
            await watched.write(strange, lambda: len(watched.failed))
            assert not fits.is_set()
        assert watched.changed == []
        await watched.write(text(NEW, more="rules: {explain_at: 0.1}\n"), lambda: len(watched.changed))
        await fits.wait()
    assert watched.file.current is watched.changed[0]
    assert watched.file.current.engines == {NEW}


def test_the_two_alarms_of_a_policy_file_exclude_each_other() -> None:
    metrics = Metrics()

    def alarms() -> tuple[float | None, ...]:
        names = ("policy_reload_failed", "policy_for_other_engines")
        return tuple(metrics.registry.get_sample_value(f"sluicegate_{name}") for name in names)

    metrics.policy_refused(other_engines=False)
    assert alarms() == (1, 0)
    metrics.policy_refused(other_engines=True)
    assert alarms() == (0, 1)
    metrics.policy_changed(policy(OLD))
    assert alarms() == (0, 0)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command.app, list(arguments))


def test_check_of_a_policy_for_an_engine(path: Path) -> None:
    path.write_text(text(OLD, NEW))
    found = run("policy", "check", str(path), "--engine", OLD)
    assert found.exit_code == 0
    assert f"; for {OLD}, {NEW}; digest" in found.output
    found = run("policy", "check", str(path), "--engine", OLD, "--engine", THIRD)
    assert found.exit_code == 1
    assert found.output.startswith(
        f"{path}:3: engines: the policy is for {OLD}, {NEW}, and the engine is {THIRD};"
    )
    found = run("policy", "check", str(path), "--engine", THIRD, "--json")
    assert [(one["line"], one["place"]) for one in json.loads(found.output)["faults"]] == [(3, "engines")]
    assert json.loads(run("policy", "check", str(path), "--json").output)["engines"] == [OLD, NEW]


def test_the_diagnosis_says_that_a_worker_would_wait(path: Path) -> None:
    path.write_text(text(OLD))
    found = policy_result(PolicySettings(path=path), (), EngineSettings(backend="fake"))
    assert (found.state, f"the policy is for {OLD}, and the engine is sha256:" in found.detail) == (
        "fault",
        True,
    )
    assert policy_result(PolicySettings(path=path)).state == "ok"
    path.write_text(HEAD)
    assert policy_result(PolicySettings(path=path), (), EngineSettings(backend="fake")).state == "ok"


def test_nothing_is_judged_here_and_now_by_a_policy_for_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.pipeline.observe.logs.configure_logs", lambda _level: None)
    path.write_text(text(OLD))
    arguments: list[Any] = ["judge", "hello", "--engine", "fake", "--policy", str(path)]
    found = run(*arguments)
    assert found.exit_code == 1
    assert isinstance(found.exception, PolicyError)
    assert f"the policy is for {OLD}, and the engine is sha256:" in str(found.exception)
    path.write_text(HEAD)
    assert run(*arguments).exit_code == 0


def test_a_diff_says_where_the_lists_differ_and_whose_scores_are_strange() -> None:
    digest = verdict(0.1).engine.digest
    found = Diff(policy(OLD), policy(NEW))
    for one in (verdict(0.1), verdict(0.9), verdict()):
        found.add(one)
    assert found.of_other_engines == 2  # one has no scores
    assert (found.document()["old"]["engines"], found.document()["new"]["engines"]) == ([OLD], [NEW])
    told = "\n".join(table(found))
    assert f"engines: the old one is for {OLD}, the new one for {NEW}" in told
    assert "2 have scores of an engine that the new one is not for" in told
    same = Diff(policy(digest), policy(digest))
    same.add(verdict(0.1))
    assert same.of_other_engines == 0
    assert "engine" not in "\n".join(table(same))
