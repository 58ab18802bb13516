from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.pipeline.engine_choice import engine_choice, fake_profile
from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings import EngineSettings


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
