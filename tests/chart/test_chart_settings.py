"""What the chart tells the worker is what the worker takes: settings, policies, commands."""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer
import yaml

from chart.rendering import CHART, NAMES, ROOT, containers, deployment, newest, pods, render, worker
from sluicegate.pipeline import command
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from chart.rendering import Answer, Document

pytestmark = pytest.mark.helm


def _settings(
    answer: Answer, container: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings as a container would have them: its file, and over it its variables."""
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "from a Secret"))
    file = tmp_path / "settings.yaml"
    file.write_text(answer.of("ConfigMap", "-settings")["data"]["settings.yaml"], encoding="utf-8")
    monkeypatch.setenv("SLUICEGATE_SETTINGS", str(file))
    return load_settings(file)


def test_a_worker_listens_where_its_pod_has_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = render("-f", str(CHART / "ci" / "cpu-values.yaml"), "--set", "settings.ops.host=::")
    settings = _settings(answer, worker(answer), tmp_path, monkeypatch)
    assert (settings.ops.host, settings.ops.port) == ("::", 8080)
    assert render("-f", str(CHART / "ci" / "cpu-values.yaml"), "--set", "settings.ops.port=9000").code != 0


@pytest.mark.parametrize("name", NAMES)
def test_the_rendered_settings_are_ones_that_a_worker_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = newest(name)
    settings = _settings(answer, worker(answer), tmp_path, monkeypatch)
    spec = deployment(answer)["spec"]["template"]["spec"]
    assert settings.ops.host == "0.0.0.0"
    assert [port["containerPort"] for port in worker(answer)["ports"]] == [settings.ops.port]
    assert spec["terminationGracePeriodSeconds"] == math.ceil(settings.drain.budget_s) + 10
    of_its_own = dict.fromkeys(("candidate", "cpu", "cycle", "demo", "review"), "llama_cpp") | dict.fromkeys(
        ("gpu", "oci"), "tensorrt_llm"
    )
    assert settings.engine.backend == of_its_own.get(name, "completions")
    given = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))
    assert (
        settings.engine.digest == given["engine"]["digest"]
        if "engine" in given
        else settings.engine.digest is None
    )
    brokers = given["kafka"]["bootstrapServers"] if "kafka" in given else "127.0.0.1:9092"
    assert settings.kafka.bootstrap_servers == brokers  # those of a demo are known once its broker listens


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_the_settings_name_is_mounted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = newest(name)
    settings = _settings(answer, worker(answer), tmp_path, monkeypatch)
    security = settings.kafka.security
    files = [security.ca_file, security.certificate_file, security.key_file, security.password_file]
    named = [path for path in [*files, settings.engine.bundle, settings.policy.path] if path is not None]
    mounts = {mount["mountPath"]: mount["name"] for mount in worker(answer)["volumeMounts"]}
    volumes = {one["name"]: one for one in deployment(answer)["spec"]["template"]["spec"]["volumes"]}
    for path in named:
        (mount,) = [folder for folder in mounts if folder in {str(path), str(path.parent)}]
        if items := volumes[mounts[mount]].get("secret", {}).get("items"):
            assert path.name in {item["path"] for item in items}


def test_values_reach_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = _settings(newest("cpu"), worker(newest("cpu")), tmp_path, monkeypatch)
    assert (cpu.window.bytes, cpu.log.level) == (33_554_432, "debug")
    gpu = _settings(newest("gpu"), worker(newest("gpu")), tmp_path, monkeypatch)
    assert (gpu.engine.concurrency, gpu.engine.url, gpu.drain.finish_s) == (None, None, 50)
    assert (gpu.kafka.security.username, gpu.kafka.security.mechanism) == ("sluicegate", "SCRAM-SHA-512")


def test_the_pinned_digest_is_the_pods_own_as_its_bundle_is() -> None:
    """The ConfigMap is read by pods of the revision before, too, which have its bundle."""
    values = ("-f", str(CHART / "ci" / "gpu-values.yaml"))
    answer = render(*values, "--set", f"engine.digest=sha256:{'7' * 64}")
    assert answer.all("ConfigMap") == newest("gpu").all("ConfigMap")
    assert {"name": "SLUICEGATE_ENGINE__DIGEST", "value": f"sha256:{'7' * 64}"} in worker(answer)["env"]


def test_the_topics_job_has_the_workers_settings() -> None:
    for name in ("cpu", "oci"):
        answer = newest(name)
        assert answer.of("ConfigMap", "-topics")["data"] == answer.of("ConfigMap", "-settings")["data"]


def test_the_topics_job_runs_before_the_workers_and_needs_nothing_that_comes_later() -> None:
    answer = newest("oci")
    job = answer.of("Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (mounted,) = [
        v["configMap"]["name"] for v in job["spec"]["template"]["spec"]["volumes"] if "configMap" in v
    ]
    hook = answer.of("ConfigMap", "-topics")["metadata"]
    assert mounted == hook["name"]
    weight = "helm.sh/hook-weight"
    assert int(hook["annotations"][weight]) < int(job["metadata"]["annotations"][weight])
    account = answer.of("ServiceAccount", "-topics")["metadata"]
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]
    assert account["annotations"][weight] == hook["annotations"][weight]


def test_every_policy_file_is_a_policy_and_one_is_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = newest("gpu")
    files = answer.of("ConfigMap", "-policies")["data"]
    policies = {name: Policy.from_bytes(text.encode(), name) for name, text in files.items()}
    assert {name: policy.version for name, policy in policies.items()} == {
        "forum.yaml": "1",
        "stricter.yaml": "2",
    }
    settings = _settings(answer, worker(answer), tmp_path, monkeypatch)
    assert settings.policy.path is not None
    assert settings.policy.path.name in files


def test_a_changed_policy_reaches_a_running_worker_and_changed_settings_a_new_one() -> None:
    deployment = newest("gpu").of("Deployment")["spec"]["template"]
    (mount,) = [one for one in worker(newest("gpu"))["volumeMounts"] if one["name"] == "policies"]
    assert "subPath" not in mount  # kubelet never writes such a file again
    assert deployment["metadata"]["annotations"].keys() == {"checksum/settings"}


def test_defaults_of_settings_in_the_chart_are_sluicegates_own() -> None:
    given = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["settings"]
    defaults = Settings().model_dump(mode="json")
    for section, names in given.items():
        assert {name: defaults[section][name] for name in names} == names


def _command_lines(answer: Answer) -> list[list[str]]:
    """Every command line of ours: whole commands, and those in shell scripts."""
    found = []
    for pod in pods(answer):
        for one in containers(pod):
            words = [*one.get("command", ()), *one.get("args", ())]
            scripts = [word for word in words if "\n" in word or words[:2] == ["sh", "-c"]]
            if words and words[0] == "sluicegate":
                found.append(words[1:])
            for script in scripts:
                found += [
                    shlex.split(line)[1:] for line in re.findall(r"(?:^|[\s|])(sluicegate [^|>&\n]+)", script)
                ]
    return found


def _parse(words: list[str]) -> str:
    """The command that a line runs, its options and arguments parsed as the command line does; nothing is run."""
    found: Any = typer.main.get_command(command.app)
    name = "sluicegate"
    while hasattr(found, "commands"):
        assert words[0] in found.commands, f"{name} has no command {words[0]!r}"
        name, found, words = f"{name} {words[0]}", found.commands[words[0]], words[1:]
    found.make_context(name, list(words))
    return name.removeprefix("sluicegate ")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_line_is_one_that_the_image_has(name: str) -> None:
    lines = [
        [word.replace("$since", "2026-01-01T00:00:00Z") for word in line if word != "$@"]
        for line in _command_lines(newest(name))
    ]
    ran = {_parse(line) for line in lines}
    more = {
        "candidate": {"topics create", "shadow run", "shadow compare"},
        "cpu": {"engine fetch-cpu", "topics create"},
        "cycle": {"topics create"},
        "demo": {"engine fetch-cpu"},
        "oci": {"topics create"},
        "review": {"engine fetch-cpu", "topics create", "review migrate", "review serve"},
        **{beside: {"engine serve-config"} for beside in ("vllm", "sglang", "trtllm-serve")},
    }
    tests = set() if name == "demo" else {"post", "deadletter list"}
    assert ran == {"worker"} | tests | more.get(name, set())


def test_a_command_that_is_not_there_is_noticed() -> None:
    with pytest.raises(AssertionError, match="engine has no command 'serve'"):
        _parse(["engine", "serve"])
    with pytest.raises(Exception, match="--copies"):
        _parse(["topics", "create", "--copies", "3"])


def test_commands_in_the_notes_exist() -> None:
    notes = (CHART / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    lines = re.findall(r"-- sluicegate (.+)$", notes, re.MULTILINE)
    assert lines
    assert [_parse(shlex.split(line)) for line in lines] == ["post", "verdicts"]


def test_commands_in_runbooks_and_refusals_exist() -> None:
    pages = [
        *(ROOT / "docs" / "runbooks").glob("*.md"),
        CHART / "templates" / "_validation.tpl",
        CHART / "values.yaml",
    ]
    lines = [
        line
        for page in pages
        for line in re.findall(r"`sluicegate ([^`]+)`", page.read_text(encoding="utf-8"))
    ]
    ran = {_parse(shlex.split(line)) for line in lines}
    assert ran >= {
        "check",
        "breaker reset",
        "deadletter replay",
        "topics plan",
        "policy check",
        "engine info",
    }
