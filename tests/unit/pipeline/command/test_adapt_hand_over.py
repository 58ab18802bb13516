"""Hand over: what a candidate's files say, and that nothing is said twice of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sluicegate.pipeline.command import candidate
from sluicegate.pipeline.command.adapt.hand_over import WrittenCandidate, commands, hand_over, write_candidate
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'7' * 64}"
LIVE = """
engine: {backend: llama_cpp, bundle: /bundles/live, adapters: {teens: {bundle: /bundles/teens}}}
policy: {path: policy.yaml}
candidate: {keys: keys, share: 0.2}
"""
POLICY = """
name: ours
version: "4"
rules: {block_at: {unsafe: 0.7}}
tenants: {teens: {rules: {adapter: teens}}, bank: {rules: {block_at: {unsafe: 0.5}}}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "live.yaml").write_text(LIVE)
    (tmp_path / "policy.yaml").write_text(POLICY)
    folder = tmp_path / "weekly.eu-0a1b2c3d4e5f"
    folder.mkdir()
    return folder


def written(run: Path, tenant: str | None) -> tuple[WrittenCandidate, dict[str, Any]]:
    found = write_candidate(run, run / "bundle", DIGEST, tenant, run.parent / "live.yaml")
    policy = yaml.safe_load((run / "candidate" / "policy.yaml").read_text())
    Policy.load(run / "candidate" / "policy.yaml")
    return found, policy


def test_only_the_adapter_differs_from_what_is_live(run: Path) -> None:
    found, policy = written(run, None)
    assert found.experiment == "weekly-eu-0a1b2c3d4e5f"
    assert policy["rules"].pop("adapter") == found.experiment
    assert policy == yaml.safe_load(POLICY)
    settings = load_settings(found.settings)
    live = load_settings(run.parent / "live.yaml")
    adapters = dict(settings.engine.adapters)
    assert adapters.pop(found.experiment).digest == DIGEST
    assert adapters == live.engine.adapters
    assert (settings.candidate.experiment, settings.candidate.share) == (found.experiment, 0.2)
    assert settings.model_copy(update={"engine": live.engine, "candidate": live.candidate}) == live


def test_a_tenants_own_adapter_judges_that_tenants_posts_alone(run: Path) -> None:
    found, policy = written(run, "bank")
    assert "adapter" not in policy["rules"]
    rules = {tenant: one["rules"] for tenant, one in policy["tenants"].items()}
    assert rules == {
        "teens": {"adapter": "teens"},
        "bank": {"block_at": {"unsafe": 0.5}, "adapter": found.experiment},
    }


def test_without_a_policy_file_the_candidate_is_the_built_in_policy_but_for_the_adapter(run: Path) -> None:
    (run.parent / "live.yaml").write_text("candidate: {keys: keys}\n")
    _, policy = written(run, "bank")
    assert policy["tenants"].pop("bank") == {"rules": {"adapter": "weekly-eu-0a1b2c3d4e5f"}}
    assert Policy.parse(policy).digest == Policy.load(None).digest


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ([], ["register", "gate", "start"]),
        (["registered"], ["gate", "start"]),
        (["registered", "gated", "shadow"], []),
    ],
)
def test_what_was_said_is_not_said_again(
    run: Path, said: list[str], left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = written(run, None)
    history = SimpleNamespace(facts=[SimpleNamespace(state=state) for state in said])
    ledger = SimpleNamespace(read=lambda: history)
    monkeypatch.setattr("sluicegate.pipeline.shadow.ledger.FactLedger", lambda *_: ledger)
    done: list[str] = []
    for name in ("register", "gate", "start"):
        monkeypatch.setattr(candidate, name, lambda name=name, **_: done.append(name))
    hand_over(found, run / "anna.pem")
    assert done == left


def test_an_editor_is_told_what_to_say(run: Path) -> None:
    found, _ = written(run, None)
    assert [line.split()[2] for line in commands(found)] == ["register", "gate", "start"]
    assert all(str(found.settings) in line for line in commands(found))
