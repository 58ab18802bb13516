from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SLUICEGATE_"):
            monkeypatch.delenv(name)


def test_the_environment_overrides_the_file_and_the_file_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("kafka: {group: from-file, bootstrap_servers: 'a:1'}\n")
    monkeypatch.setenv("SLUICEGATE_KAFKA__GROUP", "from-environment")
    settings = load_settings(path)
    assert settings.kafka.group == "from-environment"
    assert settings.kafka.bootstrap_servers == "a:1"
    assert settings.topics.posts == "posts"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kafka: [", "YAML"),
        ("- a", "mapping"),
        ("kafka: {grup: x}", "kafka.grup"),
        ("window: {posts: 0}", "window.posts"),
        ("drain: {budget_s: 5}", "raise drain.budget_s to 45"),
        ("kafka: {rebalance_timeout_s: 10}", "must exceed drain.finish_s"),
        ("topics: {allow: posts}", "topics.posts and topics.allow are both"),
        ("topics: {allow: 'a b'}", "topics.allow"),
        ("engine: {backend: completions}", "engine.url and engine.bundle"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    assert said in str(refused.value)


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    settings = load_settings(engine={"api_key": "hunter2"})
    shown = f"{settings.masked()} {settings!r} {settings.digest}"
    assert "hunter2" not in shown
    assert settings.engine.api_key is not None
    assert settings.engine.api_key.get_secret_value() == "hunter2"


def test_the_digest_tells_settings_apart() -> None:
    assert load_settings().digest == load_settings().digest
    assert load_settings().digest != load_settings(cache={"entries": 5}).digest


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "absent.yaml")


@pytest.mark.parametrize("name", ["SLUICEGATE_KAFKA_GROUP", "SLUICEGATE_ENGINE_SCORE_TIMEOUT_S"])
def test_one_underscore_for_two_is_refused_with_the_right_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "5")
    with pytest.raises(SettingsError, match=r"SLUICEGATE_(KAFKA__GROUP|ENGINE__SCORE_TIMEOUT_S)"):
        load_settings()


def test_what_kubernetes_sets_for_a_service_of_this_name_is_let_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SLUICEGATE_PORT", "SLUICEGATE_SERVICE_HOST", "SLUICEGATE_PORT_8080_TCP_ADDR"):
        monkeypatch.setenv(name, "tcp://10.0.0.1:8080")
    load_settings()


def test_a_password_in_the_tracing_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="must hold no password") as refused:
        load_settings(tracing={"endpoint": "http://u:hunter2@collector:4318/v1/traces"})
    assert "hunter2" not in str(refused.value)
