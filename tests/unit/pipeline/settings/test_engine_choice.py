from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings.engine_choice import engine_choice, engine_choices, fake_profile
from sluicegate.pipeline.settings.tree import EngineSettings


def test_the_choice_carries_the_settings_and_hides_the_key() -> None:
    settings = EngineSettings.model_validate(
        {"backend": "completions", "url": "http://x", "bundle": "/b", "api_key": "hunter2"}
    )
    choice = engine_choice(settings)
    assert choice.api_key == "hunter2"
    assert "hunter2" not in repr(choice)
    assert choice.bundle == Path("/b")


def test_a_profile_starts_from_a_preset_and_changes_fields(tmp_path: Path) -> None:
    path = tmp_path / "fake.json"
    path.write_text('{"preset": "h100", "saturating_prompts": 3, "faults_file": "faults.json"}')
    profile = fake_profile(path)
    assert profile.prefill_tokens_per_s == FakeProfile.h100().prefill_tokens_per_s
    assert profile.saturating_prompts == 3
    assert profile.faults_file == Path("faults.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"speed": 1}', "3"])
def test_a_profile_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fake.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="fake_profile"):
        fake_profile(path)


def test_an_unknown_field_of_a_profile_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "fake.json"
    path.write_text('{"saturating_promts": 3}')
    with pytest.raises(
        SettingsError, match=r"saturating_promts: no such field; there are preset, .*saturating_prompts"
    ):
        fake_profile(path)


def test_an_adapter_is_as_the_engine_but_for_what_it_says_itself() -> None:
    settings = EngineSettings.model_validate(
        {
            "backend": "completions",
            "url": "http://x",
            "bundle": "/b",
            "dialect": "vllm",
            "model": "guard",
            "digest": "sha256:1",
            "api_key": "hunter2",
            "adapters": {
                "teens": {"bundle": "/teens", "model": "guard-teens"},
                "bank": {"bundle": "/bank", "url": "http://y", "digest": "sha256:2"},
            },
        }
    )
    choices = engine_choices(settings)
    assert list(choices) == [None, "teens", "bank"]
    own, teens, bank = choices.values()
    assert (own.adapter, own.url, own.model, own.bundle) == (None, "http://x", "guard", Path("/b"))
    assert (teens.adapter, teens.url, teens.model, teens.bundle) == (
        "teens",
        "http://x",
        "guard-teens",
        Path("/teens"),
    )
    assert (bank.adapter, bank.url, bank.model, bank.bundle) == ("bank", "http://y", None, Path("/bank"))
    assert [choice.pinned_digest for choice in (own, teens, bank)] == ["sha256:1", None, "sha256:2"]
    assert {choice.api_key for choice in choices.values()} == {"hunter2"}


def test_a_fake_adapter_has_its_own_profile_or_the_engines(tmp_path: Path) -> None:
    for name in ("own", "teens"):
        (tmp_path / f"{name}.json").write_text(f'{{"rules": {{"{name}": "unsafe"}}}}')
    settings = EngineSettings.model_validate(
        {
            "backend": "fake",
            "fake_profile": tmp_path / "own.json",
            "adapters": {"teens": {"fake_profile": tmp_path / "teens.json"}, "bank": {}},
        }
    )
    rules = [dict(choice.fake.rules) for choice in engine_choices(settings).values() if choice.fake]
    assert rules == [{"own": "unsafe"}, {"teens": "unsafe"}, {"own": "unsafe"}]


def test_another_backend_than_the_settings_were_checked_for_gets_no_adapter_without_a_bundle() -> None:
    settings = EngineSettings.model_validate({"backend": "fake", "adapters": {"teens": {}}})
    other = settings.model_copy(update={"backend": "llama_cpp"})
    with pytest.raises(SettingsError, match=r"engine\.adapters\.teens\.bundle is missing"):
        engine_choice(other, "teens")


def test_an_adapter_that_the_settings_lack_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"engine\.adapters\.teens: no such adapter.* there are none"):
        engine_choice(EngineSettings(backend="fake"), "teens")
    settings = EngineSettings.model_validate({"backend": "fake", "adapters": {"bank": {}}})
    with pytest.raises(SettingsError, match="there are bank"):
        engine_choice(settings, "teens")
