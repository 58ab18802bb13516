"""What judges, looked at: bundle, engine and policy, sound and broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from contract.stub_server import StubServer
from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.command.check import bundle_result, engine_result, policy_result
from sluicegate.pipeline.kafka.check import fault, ok
from sluicegate.pipeline.settings.tree import EngineSettings, PolicySettings
from sluicegate.schemas import FailureCode
from support.small_bundle import write_small_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.engines.protocol import Prompt

NO_SERVER = "http://127.0.0.1:9"  # the discard port: nobody listens there


def completions(bundle: Path, **more: object) -> EngineSettings:
    return EngineSettings.model_validate(
        {"backend": "completions", "url": NO_SERVER, "bundle": bundle, "score_timeout_s": 5.0, **more}
    )


def test_a_sound_bundle_says_how_to_pin_it(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small")
    found = bundle_result(completions(bundle))
    assert found.state == "ok"
    assert f"SLUICEGATE_ENGINE__DIGEST={Bundle.open(bundle).digest}" in found.detail


def test_a_pinned_bundle_is_compared(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small")
    digest = Bundle.open(bundle).digest
    assert bundle_result(completions(bundle, digest=digest)).state == "ok"
    found = bundle_result(completions(bundle, digest="sha256:" + "0" * 64))
    assert found.state == "fault"
    assert digest in found.detail
    assert (found.fix or "").startswith(f"export SLUICEGATE_ENGINE__DIGEST={digest}")


def test_a_cpu_model_that_nobody_knows_is_a_fault_with_one_that_is() -> None:
    found = bundle_result(EngineSettings(backend="llama_cpp", model="guard"))
    assert (found.state, found.fix) == ("fault", "export SLUICEGATE_ENGINE__MODEL=smollm2-135m")


def test_the_cpu_model_of_the_settings_is_the_one_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEGATE_CACHE_DIR", str(tmp_path))
    found = bundle_result(EngineSettings(backend="llama_cpp", model="qwen2.5-0.5b"))
    assert found.fix == "sluicegate engine fetch-cpu --model qwen2.5-0.5b"


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small")
    (bundle / "model.bin").write_bytes(b"NO weights")
    found = bundle_result(completions(bundle))
    assert found.state == "fault"
    assert "model.bin: files.model.sha256" in found.detail
    assert f"sluicegate engine verify {bundle}" in (found.fix or "")


def test_a_missing_cpu_model_says_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_CACHE_DIR", str(tmp_path))
    found = bundle_result(EngineSettings(backend="llama_cpp"))
    assert (found.state, found.fix) == ("fault", "sluicegate engine fetch-cpu")


async def test_an_engine_that_scores_is_sound() -> None:
    found = await engine_result(EngineSettings(backend="fake"), ok("bundle", ""))
    assert found.state == "ok"


@pytest.mark.parametrize(
    ("code", "fix"),
    [(FailureCode.TOO_LONG, "its context must hold"), (FailureCode.TIMED_OUT, "EXPLAIN_TIMEOUT_S=14")],
)
async def test_an_engine_explains_one_prompt_of_full_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: FailureCode, fix: str
) -> None:
    asked: list[int] = []

    async def explain(
        _: FakeEngine, prompts: Sequence[Prompt], severities: Sequence[str], *, timeout_s: float
    ) -> list[ItemFailure]:
        asked.extend(len(prompt.token_ids) for prompt in prompts)
        assert (severities, timeout_s) == (["unsafe"], 7.0)
        return [ItemFailure(code)]

    monkeypatch.setattr(FakeEngine, "explain", explain)
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"max_prompt_tokens": 700}))
    engine = EngineSettings(backend="fake", fake_profile=profile, explain_timeout_s=7)
    found = await engine_result(engine, ok("bundle", ""))
    assert found.state == "fault"
    assert f"got no explanation ({code.value})" in found.detail
    assert fix in (found.fix or "")
    (tokens,) = asked
    assert 690 <= tokens <= 700  # a word of the fake engine is some tokens


async def test_an_engine_is_not_started_on_a_broken_bundle(tmp_path: Path) -> None:
    found = await engine_result(completions(tmp_path), fault("bundle", "", "x"))
    assert found.state == "unknown"


async def test_a_server_that_is_away_is_named_with_a_command(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small")
    found = await engine_result(completions(bundle), ok("bundle", ""))
    assert found.state == "fault"
    assert "cannot be reached" in found.detail
    assert f"curl -sS {NO_SERVER}" in (found.fix or "")


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ({"die": True}, "fake: "),
        ({"error": True}, "engine_error"),
        ({"labels_missing": True}, "labels_missing"),
    ],
)
async def test_an_engine_that_cannot_score_is_a_fault(
    tmp_path: Path, switch: dict[str, bool], said: str
) -> None:
    switches = tmp_path / "faults.json"
    switches.write_text(json.dumps(switch))
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"faults_file": str(switches)}))
    engine = EngineSettings(backend="fake", fake_profile=profile, score_timeout_s=2)
    found = await engine_result(engine, ok("bundle", ""))
    assert found.state == "fault"
    assert said in found.detail
    assert found.fix


@pytest.mark.parametrize("dialect", ["openai", "vllm", "trtllm"])
async def test_a_server_whose_model_would_rather_write_something_else_is_a_fault(
    tmp_path: Path, dialect: str
) -> None:
    bundle = write_small_bundle(tmp_path / "small")
    async with StubServer(dialect) as stub:
        url = stub.url
        engine = completions(bundle, url=url, dialect=dialect)
        assert (await engine_result(engine, ok("bundle", ""))).state == "ok"
        stub.faults["astray"] = None
        found = await engine_result(engine, ok("bundle", ""))
    assert found.state == "fault"
    assert "only 0% of the probability" in found.detail
    assert f"curl -sS {url}" in (found.fix or "")


async def test_settings_of_an_engine_that_cannot_be_opened_are_a_fault(tmp_path: Path) -> None:
    engine = EngineSettings(backend="fake", fake_profile=tmp_path / "absent.json")
    found = await engine_result(engine, ok("bundle", ""))
    assert (found.state, "engine.fake_profile" in found.detail) == ("fault", True)


def test_the_built_in_policy_is_sound() -> None:
    assert policy_result(PolicySettings()).state == "ok"


def test_a_broken_policy_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "my policy.yaml"
    path.write_text("name: [")
    found = policy_result(PolicySettings(path=path))
    assert found.state == "fault"
    assert str(path) in found.detail
    assert found.fix == f"sluicegate policy check '{path}'"


async def test_an_adapter_is_looked_at_like_the_engine_and_named(tmp_path: Path) -> None:
    own, teens = write_small_bundle(tmp_path / "own"), write_small_bundle(tmp_path / "teens")
    digest = Bundle.open(teens).digest
    adapter: dict[str, object] = {"bundle": teens, "url": f"{NO_SERVER}/teens"}
    found = bundle_result(completions(own, adapters={"teens": adapter}), "teens")
    assert (found.subject, found.state) == ("adapters.teens.bundle", "ok")
    assert f"export SLUICEGATE_ENGINE__ADAPTERS__TEENS__DIGEST={digest}" in found.detail
    pinned = completions(own, adapters={"teens": adapter | {"digest": f"sha256:{'0' * 64}"}})
    found = bundle_result(pinned, "teens")
    assert found.state == "fault"
    assert f"engine.adapters.teens.digest pins sha256:{'0' * 64}" in found.detail
    assert bundle_result(pinned).state == "ok"
    found = await engine_result(completions(own, adapters={"teens": adapter}), ok("bundle", ""), "teens")
    assert (found.subject, found.state) == ("adapters.teens", "fault")
    assert f"curl -sS {NO_SERVER}/teens/v1/models" in (found.fix or "")


async def test_a_fake_adapter_needs_no_bundle_and_scores() -> None:
    settings = EngineSettings.model_validate({"backend": "fake", "adapters": {"teens": {}}})
    assert bundle_result(settings, "teens").state == "ok"
    found = await engine_result(settings, ok("bundle", ""), "teens")
    assert (found.subject, found.state) == ("adapters.teens", "ok")
