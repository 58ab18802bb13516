"""The settings as they are shown: the generated page, and where each value comes from."""

from __future__ import annotations

import json
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings.adapters import AdapterSettings
from sluicegate.pipeline.settings.page import (
    REASONS,
    UNITS,
    effective_settings,
    setting_entries,
    settings_page,
)
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "settings.md"
ENTRIES = {entry.name: entry for entry in setting_entries()}


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name


# Below `engine.adapters` stand the names that a user gives: the page says NAME for each.
ONE_ADAPTER = {"backend": "fake", "adapters": {"name": {}}}
NAMES = [
    name.replace(".adapters.name.", ".adapters.NAME.")
    for name in leaves(load_settings(engine=ONE_ADAPTER).masked())
]
WITHOUT_ADAPTERS = list(leaves(load_settings().masked()))
COUNTED_IN_NOTHING = {"ops.port", "review.port"}  # a number that is a name


def test_the_page_in_docs_is_what_the_code_generates() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "sluicegate settings docs docs/settings.md"


def test_every_setting_is_described_with_the_reason_for_its_default() -> None:
    assert list(ENTRIES) == NAMES
    for name, entry in ENTRIES.items():
        assert entry.meaning.endswith("."), name
        assert len(entry.meaning) > 8, name
        assert entry.reason.endswith("."), name
        assert f"**`{name}`** (default " in settings_page()


def test_no_reason_and_no_unit_is_left_of_a_setting_that_has_gone() -> None:
    assert REASONS.keys() == set(NAMES)
    assert UNITS.keys() <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_unit(name: str) -> None:
    section, _, setting = name.rpartition(".")
    kind: Any = (
        AdapterSettings if section == "engine.adapters.NAME" else type(attrgetter(section)(load_settings()))
    )
    kind = kind.model_json_schema()["properties"][setting]
    is_number = bool({"integer", "number"} & {one.get("type") for one in kind.get("anyOf", [kind])})
    assert bool(ENTRIES[name].unit) == (is_number and name not in COUNTED_IN_NOTHING)


@pytest.mark.parametrize(
    ("name", "unit", "allowed", "default"),
    [
        ("kafka.session_timeout_s", "seconds", "above 0 up to 86,400", "`20`"),
        (
            "engine.dialect",
            "",
            "one of `openai`, `vllm`, `sglang`, `trtllm`, `trtllm_chat`, `llama_cpp`",
            "`openai`",
        ),
        ("micro_batch.posts", "posts", "from 1 up to 65,536", "none"),
        ("engine.api_key", "", "", "none"),
    ],
)
def test_unit_range_and_default_are_the_settings_own(
    name: str, unit: str, allowed: str, default: str
) -> None:
    entry = ENTRIES[name]
    assert (entry.unit, entry.allowed, entry.default) == (unit, allowed, default)


def test_each_value_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("kafka: {group: from-file, session_timeout_s: 30}\nengine: {api_key: hunter2}\n")
    monkeypatch.setenv("SLUICEGATE_KAFKA__GROUP", "from-environment")
    monkeypatch.setenv("SLUICEGATE_OPS", '{"port": 9}')
    monkeypatch.setenv("SLUICEGATE_LOG__LEVEL", "")  # empty is as good as not set
    monkeypatch.setenv("SLUICEGATE_KAFKA__SECURITY", '{"protocol": "SSL"}')
    monkeypatch.setenv("SLUICEGATE_KAFKA__SECURITY__CA_FILE", "/ca.pem")
    settings, entries = effective_settings(path)
    found = {entry.name: (entry.value, entry.origin, entry.where) for entry in entries}
    assert found["kafka.group"] == ("from-environment", "environment", "SLUICEGATE_KAFKA__GROUP")
    assert found["kafka.session_timeout_s"] == (30.0, "file", str(path))
    assert found["kafka.bootstrap_servers"] == ("127.0.0.1:9092", "default", None)
    assert found["ops.port"] == (9, "environment", "SLUICEGATE_OPS")
    assert found["kafka.security.protocol"] == ("SSL", "environment", "SLUICEGATE_KAFKA__SECURITY")
    assert found["kafka.security.ca_file"][1:] == ("environment", "SLUICEGATE_KAFKA__SECURITY__CA_FILE")
    assert found["log.level"] == ("info", "default", None)
    assert found["engine.api_key"][1:] == ("file", str(path))
    assert "hunter2" not in str(entries)
    assert list(found) == WITHOUT_ADAPTERS
    assert settings.kafka.group == "from-environment"


def test_show_for_machines_is_show_for_people(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("kafka: {group: mine}\nengine: {api_key: hunter2}\n")
    invoke = CliRunner().invoke
    shown = invoke(command.app, ["settings", "show", "--settings", str(path)])
    document: dict[str, Any] = json.loads(
        invoke(command.app, ["settings", "show", "--json", "--settings", str(path)]).output
    )
    assert shown.exit_code == 0
    assert document["digest"] == load_settings(path).digest
    assert f"digest {document['digest']}" in shown.output
    lines = {line.split()[0]: line.split() for line in shown.output.splitlines()}
    assert lines["kafka.group"] == ["kafka.group", "mine", str(path)]
    assert [entry["name"] for entry in document["settings"]] == WITHOUT_ADAPTERS
    assert "hunter2" not in shown.output + json.dumps(document)


def test_docs_writes_prints_and_compares(tmp_path: Path) -> None:
    invoke = CliRunner().invoke
    page = tmp_path / "settings.md"
    assert invoke(command.app, ["settings", "docs", str(page), "--check"]).exit_code == 1
    assert invoke(command.app, ["settings", "docs", str(page)]).exit_code == 0
    assert invoke(command.app, ["settings", "docs", str(page), "--check"]).exit_code == 0
    assert invoke(command.app, ["settings", "docs"]).output == page.read_text()
    page.write_text(page.read_text() + "\n")
    assert invoke(command.app, ["settings", "docs", str(page), "--check"]).exit_code == 1


WORKING_PAIRS: list[tuple[dict[str, Any], tuple[str, str], dict[str, Any]]] = [
    (
        {"drain": {"budget_s": 5}},
        ("drain.finish_s", "drain.budget_s"),
        {"drain": {"budget_s": 45}},
    ),
    (
        {"kafka": {"rebalance_timeout_s": 10}},
        ("kafka.rebalance_timeout_s", "drain.finish_s"),
        {"kafka": {"rebalance_timeout_s": 90}, "drain": {"finish_s": 25}},
    ),
    (
        {"topics": {"review": "verdicts.allow"}},
        ("topics.allow", "topics.review"),
        {"topics": {"allow": "verdicts.allow", "review": "verdicts.allow.review"}},
    ),
    (
        {"engine": {"backend": "completions"}},
        ("engine.url", "engine.bundle"),
        {"engine": {"backend": "completions", "url": "http://127.0.0.1:8000", "bundle": "/bundles/guard"}},
    ),
    (
        {"engine": {"url": "http://me:secret@127.0.0.1:8000"}},
        ("engine.url", "engine.api_key"),
        {"engine": {"url": "http://127.0.0.1:8000", "api_key": "secret"}},
    ),
    (
        {"cache": {"entries": 0, "redis_url": "redis://127.0.0.1"}},
        ("cache.redis_url", "cache.entries"),
        {"cache": {"entries": 1000, "redis_url": "redis://127.0.0.1"}},
    ),
]
SECRET_FILE = "/run/secrets/kafka-password"  # noqa: S105 - where one would lie
WORKING_SECURITY: list[tuple[dict[str, Any], tuple[str, str], dict[str, Any]]] = [
    (
        {"protocol": "SSL", "certificate_file": "/c.crt"},
        ("certificate_file", "key_file"),
        {
            "protocol": "SSL",
            "certificate_file": "/run/secrets/client.crt",
            "key_file": "/run/secrets/client.key",
        },
    ),
    (
        {"protocol": "SSL", "key_password": "hunter2"},
        ("key_password", "key_file"),
        {
            "protocol": "SSL",
            "key_file": "/run/secrets/client.key",
            "certificate_file": "/c.crt",
            "key_password": "hunter2",
        },
    ),
    (
        {"protocol": "SASL_SSL", "username": "guard", "password": "hunter2", "password_file": "/p"},
        ("password", "password_file"),
        {"protocol": "SASL_SSL", "username": "guard", "password_file": SECRET_FILE},
    ),
    (
        {"protocol": "SASL_SSL", "password": "hunter2"},
        ("protocol", "username"),
        {"protocol": "SASL_SSL", "username": "guard", "password_file": SECRET_FILE},
    ),
    (
        {"protocol": "SASL_PLAINTEXT", "username": "guard"},
        ("protocol", "password_file"),
        {"protocol": "SASL_PLAINTEXT", "username": "guard", "password_file": SECRET_FILE},
    ),
    ({"ca_file": "/ca.pem"}, ("ca_file", "protocol"), {"protocol": "SSL", "ca_file": "/ca.pem"}),
    (
        {"protocol": "SASL_PLAINTEXT", "ca_file": "/ca.pem", "username": "guard", "password": "hunter2"},
        ("ca_file", "protocol"),
        {"protocol": "SASL_SSL", "ca_file": "/ca.pem", "username": "guard", "password": "hunter2"},
    ),
    (
        {"protocol": "SSL", "username": "guard", "password": "hunter2"},
        ("username", "protocol"),
        {"protocol": "SASL_SSL", "username": "guard", "password": "hunter2"},
    ),
]


@pytest.mark.parametrize(("broken", "names", "working"), WORKING_SECURITY)
def test_security_settings_that_do_not_fit_are_both_named_with_a_pair_that_works(
    broken: dict[str, Any], names: tuple[str, str], working: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(kafka={"security": broken})
    said = str(refused.value)
    for name in names:
        assert f"kafka.security.{name}" in said
    for name, value in working.items():
        assert value in said or value == broken.get(name) or name == "certificate_file"
    assert "hunter2" not in said
    load_settings(kafka={"security": working})


@pytest.mark.parametrize(("broken", "names", "working"), WORKING_PAIRS)
def test_two_settings_that_do_not_fit_are_both_named_with_a_pair_that_works(
    broken: dict[str, Any], names: tuple[str, str], working: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**broken)
    said = str(refused.value)
    for name in names:
        assert name in said
    for section in working.values():
        for value in section.values():
            assert str(value) in said or value == "redis://127.0.0.1"
    load_settings(**working)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SLUICEGATE_KAFAK__GROUP", "x", "did you mean 'kafka'?"),
        ("SLUICEGATE_KAFKA__GRUOP", "x", "kafka.gruop: no such setting; did you mean 'group'?"),
        (
            "SLUICEGATE_KAFKA__SECURITY__USER",
            "x",
            "kafka.security.user: no such setting; did you mean 'username'?",
        ),
        ("SLUICEGATE_ZZZ__X", "1", "no section 'zzz'; there are kafka, topics"),
        ("SLUICEGATE_KAFKA", "{", "must be JSON"),
        ("SLUICEGATE_WINDOW__POSTS", "many", "window.posts: "),
    ],
)
def test_a_variable_that_means_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "name", ["SLUICEGATE_SERVICE_HOST", "SLUICEGATE_PORT_8080_TCP_ADDR", "SLUICEGATE_CACHE_DIR"]
)
def test_variables_that_are_no_settings_are_let_be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "10.0.0.1")
    assert load_settings() == load_settings()
