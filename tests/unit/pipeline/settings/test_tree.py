from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from pathlib import Path


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
        ("screen: {digest: 'sha256:00'}", "give screen.path"),
        (
            "worker: {role: judge}",
            "worker: there is no edge any more, and every worker has an engine: leave the section",
        ),
        ("worker: {role: screen}", "workers with an engine read what the edge read, in its kafka.group"),
        (
            "topics: {forward: posts.central}",
            "topics.forward: no worker forwards posts any more: leave topics.forward",
        ),
        (
            "screen: {from_edge: false}",
            "screen.from_edge: no post comes from an edge any more: leave screen.from_edge",
        ),
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


@pytest.mark.parametrize("library", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SLUICEGATE_WORKER__ROLE", "judge", "SLUICEGATE_WORKER__ROLE: there is no edge any more"),
        ("SLUICEGATE_WORKER", '{"role": "judge"}', "SLUICEGATE_WORKER: there is no edge any more"),
        ("SLUICEGATE_TOPICS__FORWARD", "posts.central", "topics.forward: no worker forwards"),
        ("SLUICEGATE_SCREEN__FROM_EDGE", "true", "screen.from_edge: no post comes from an edge"),
    ],
)
def test_a_variable_of_a_setting_that_is_gone_says_what_to_do_now(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str, *, library: bool
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings(library=library)
    assert said in str(refused.value)
    assert "CHANGELOG.md" in str(refused.value)


@pytest.mark.parametrize("name", ["SLUICEGATE_KAFKA_GROUP", "SLUICEGATE_ENGINE_SCORE_TIMEOUT_S"])
def test_one_underscore_for_two_is_refused_with_the_right_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "5")
    with pytest.raises(SettingsError, match=r"SLUICEGATE_(KAFKA__GROUP|ENGINE__SCORE_TIMEOUT_S)"):
        load_settings()


@pytest.mark.parametrize("name", ["SLUICEGATE_FOO", "SLUICEGATE_KAFKA_GRUOP", "sluicegate_foo"])
def test_a_variable_of_no_setting_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "5")
    with pytest.raises(SettingsError, match=rf"{name}: no such setting; .*SLUICEGATE_KAFKA__GROUP"):
        load_settings()


@pytest.mark.parametrize("servers", ["a:b", "a:", ":9092", "a:1,b:99999", "a:0", "[::1]:x", "a:\u0663"])
def test_what_is_no_address_of_a_broker_is_refused(servers: str) -> None:
    with pytest.raises(SettingsError, match=r"kafka\.bootstrap_servers: .* is no host:port, such as"):
        load_settings(kafka={"bootstrap_servers": servers})


@pytest.mark.parametrize("servers", ["a:1, b:2", "[::1]:9092", "[::1]", "localhost", "a:65535", "a:1,"])
def test_addresses_of_brokers_are_taken(servers: str) -> None:
    assert load_settings(kafka={"bootstrap_servers": servers}).kafka.bootstrap_servers == servers


def test_a_file_that_is_no_yaml_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("kafka:\n  group: eu\n  security: [\nengine: {}\n", encoding="utf-8")
    with pytest.raises(
        SettingsError, match=r"settings\.yaml:5: this is no YAML, in what begins in line 3: look for"
    ):
        load_settings(path)
    path.write_text("kafka:\n  group: a: b\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"settings\.yaml:2: this is no YAML: look for"):
        load_settings(path)


@pytest.mark.parametrize("sign", [*"*!%@`|>[{'\",?-:", "!!", "!a!", "&a *"])
def test_no_password_that_breaks_the_file_is_told(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "settings.yaml"
    for behind in ("", sign):
        text = f"kafka:\n  security:\n    password: {sign}Hunter2secret{behind}\n"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError) as refused:  # at the latest since PLAINTEXT takes no password
            load_settings(path)
        assert "Hunter2" not in "".join(traceback.format_exception(refused.value))
        if sign in {"*", "!"} and not behind:
            assert "settings.yaml:3: a value begins with a sign" in str(refused.value)


def test_a_library_passes_over_what_another_program_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_ENABLED", "1")
    assert load_settings(library=True).kafka == load_settings(library=True).kafka
    with pytest.raises(SettingsError, match="SLUICEGATE_ENABLED: no such setting"):
        load_settings()


def test_what_kubernetes_sets_for_a_service_of_this_name_is_let_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "SLUICEGATE_PORT",
        "SLUICEGATE_SERVICE_HOST",
        "SLUICEGATE_SERVICE_PORT_OPS",
        "SLUICEGATE_PORT_8080_TCP_ADDR",
        "SLUICEGATE_WORKERS_SERVICE_HOST",
        "SLUICEGATE_WORKERS_PORT_9090_TCP",
    ):
        monkeypatch.setenv(name, "tcp://10.0.0.1:8080")
    load_settings()


def test_a_password_in_the_tracing_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="must hold no password") as refused:
        load_settings(tracing={"endpoint": "http://u:hunter2@collector:4318/v1/traces"})
    assert "hunter2" not in str(refused.value)


COMPLETIONS = {"backend": "completions", "url": "http://127.0.0.1:9", "bundle": "/b"}


@pytest.mark.parametrize(
    ("engine", "adapter", "sentence"),
    [
        ({"backend": "llama_cpp"}, {}, "engine.adapters.teens.bundle is missing; give"),
        (COMPLETIONS, {"model": "x"}, "engine.adapters.teens.bundle is missing; give"),
        (COMPLETIONS | {"dialect": "vllm"}, {"bundle": "/t"}, "engine.adapters.teens.model is missing; give"),
        (
            COMPLETIONS | {"dialect": "trtllm"},
            {"bundle": "/t"},
            "engine.adapters.teens.lora_path is missing; ",
        ),
        (
            COMPLETIONS | {"dialect": "trtllm"},
            {"bundle": "/t", "lora_path": "/l"},
            "engine.model is missing; give",
        ),
        (
            COMPLETIONS | {"dialect": "sglang"},
            {"bundle": "/t", "model": "x"},
            "engine.adapters.teens.lora_path is missing; give the name that SGLang was given",
        ),
        (
            COMPLETIONS | {"dialect": "vllm"},
            {"bundle": "/t", "model": "x", "lora_path": "/l"},
            "engine.adapters.teens.lora_path is not sent in dialect vllm; leave it out, or say engine.dialect: one of sglang, trtllm, trtllm_chat",
        ),
        # A server that ignores what it is asked for would answer for its base, and nobody would see it.
        (
            COMPLETIONS,
            {"bundle": "/t", "model": "x"},
            "engine.adapters.teens.url is missing; give an address",
        ),
        (
            COMPLETIONS | {"dialect": "llama_cpp"},
            {"bundle": "/t"},
            "engine.adapters.teens.url is missing; give",
        ),
        (
            COMPLETIONS,
            {"bundle": "/t", "url": "http://me:hunter2@x"},
            "engine.adapters.teens.url is shown in logs",
        ),
        (
            {"backend": "fake"},
            {"bundel": "/t"},
            "engine.adapters.teens.bundel: no such setting; did you mean 'b",
        ),
    ],
)
def test_an_adapter_that_could_not_be_told_from_its_base_is_refused(
    engine: dict[str, Any], adapter: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(engine=engine | {"adapters": {"teens": adapter}})
    assert sentence in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("engine", "adapter"),
    [
        ({"backend": "fake"}, {}),
        ({"backend": "llama_cpp"}, {"bundle": "/t"}),
        (COMPLETIONS, {"bundle": "/t", "url": "http://y"}),
        (COMPLETIONS | {"dialect": "llama_cpp"}, {"bundle": "/t", "url": "http://y"}),
        (COMPLETIONS | {"dialect": "vllm"}, {"bundle": "/t", "model": "guard-teens"}),
        (COMPLETIONS | {"dialect": "trtllm", "model": "guard"}, {"bundle": "/t", "lora_path": "/l"}),
        (COMPLETIONS | {"dialect": "sglang"}, {"bundle": "/t", "lora_path": "teens"}),
    ],
)
def test_an_adapter_that_can_be_told_from_its_base_is_taken(
    engine: dict[str, Any], adapter: dict[str, Any]
) -> None:
    assert list(load_settings(engine=engine | {"adapters": {"teens": adapter}}).engine.adapters) == ["teens"]


def test_an_adapter_comes_from_the_environment_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_ENGINE__BACKEND", "llama_cpp")
    monkeypatch.setenv("SLUICEGATE_ENGINE__ADAPTERS__TEENS__BUNDLE", "/teens")
    assert str(load_settings().engine.adapters["teens"].bundle) == "/teens"


@pytest.mark.parametrize("name", ["Teens", "a.b", "", "x" * 65])
def test_a_name_that_a_policy_could_not_write_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"engine\.adapters"):
        load_settings(engine={"backend": "fake", "adapters": {name: {}}})
