"""compose.yaml and the worker's image, as far as they can be checked without a container engine."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from chart.queries import promtool
from sluicegate import __version__
from sluicegate.pipeline import command
from sluicegate.pipeline.settings.tree import Settings, load_settings
from support.kafka import kafka_version, resolve_jars

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DOCUMENT: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = {name: one for name, one in SERVICES.items() if "build" in one}


def _yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def _volumes() -> list[tuple[str, str, str]]:
    """Service, source and target of every mount."""
    mounts = [
        (name, one.split(":")) for name, service in SERVICES.items() for one in service.get("volumes", ())
    ]
    return [(name, source, target) for name, (source, target, *_) in mounts]


def _mounted(service: str, target: str) -> str:
    """What a path of a service is mounted from."""
    (source,) = [source for name, source, where in _volumes() if (name, where) == (service, target)]
    return source


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The worker's, from its variables and nothing else."""
    for name in [name for name in os.environ if name.startswith("SLUICEGATE_")]:
        monkeypatch.delenv(name)
    for name, value in SERVICES["worker"]["environment"].items():
        monkeypatch.setenv(name, value)
    return load_settings(None)


def test_the_head_says_what_was_not_run() -> None:
    assert "Not run here" in TEXT.partition("\nservices:")[0]


def test_images_are_pinned_and_those_that_are_known_elsewhere_are_the_same() -> None:
    images = {name: one["image"] for name, one in SERVICES.items()}
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images.values())
    assert images["kafka"] == f"apache/kafka:{kafka_version()}"
    assert {one["image"] for one in OURS.values()} == {f"sluicegate:{__version__}"}


def test_everything_listens_on_loopback() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_mount_leads_to_a_file_or_a_volume() -> None:
    sources = {source for _, source, _ in _volumes()}
    bound = {source for source in sources if source.startswith("./")}
    assert [source for source in bound if not (ROOT / source).exists()] == []
    assert sources - bound == DOCUMENT["volumes"].keys()
    used = {source for source in bound if source.startswith("./compose/")}
    assert {f"./compose/{path.name}" for path in (ROOT / "compose").iterdir()} == used


def test_who_waits_for_whom_can_be_fulfilled() -> None:
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] in ("service_healthy", "service_completed_successfully")
            assert (wait["condition"] == "service_healthy") == ("healthcheck" in SERVICES[name])


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_that_the_image_has(name: str) -> None:
    words = OURS[name]["command"]
    found: Any = typer.main.get_command(command.app)
    while hasattr(found, "commands"):
        found, words = found.commands[words[0]], words[1:]
    found.make_context("sluicegate", list(words))


def test_commands_of_the_head_are_commands_too() -> None:
    lines = re.findall(r"worker sluicegate (.+)$", TEXT, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["post", "verdicts"]
    for name, *words in map(str.split, lines):
        found: Any = typer.main.get_command(command.app)
        found.commands[name].make_context("sluicegate", words)


def test_the_variables_are_settings_that_fit_the_other_services(settings: Settings) -> None:
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://{settings.kafka.bootstrap_servers}" in listeners
    assert settings.engine.backend == "llama_cpp"
    assert SERVICES["model"]["command"][-1] == str(settings.engine.bundle)
    assert settings.engine.bundle is not None
    folder = str(settings.engine.bundle.parent)
    assert _mounted("worker", folder) == _mounted("model", folder) == "bundles"
    assert settings.ops.host == "0.0.0.0"
    assert SERVICES["worker"]["ports"] == [f"127.0.0.1:{settings.ops.port}:{settings.ops.port}"]
    assert f":{settings.ops.port}/readyz" in SERVICES["worker"]["healthcheck"]["test"][-1]
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > settings.drain.budget_s


def test_prometheus_scrapes_the_worker_and_grafana_asks_prometheus(settings: Settings) -> None:
    (job,) = _yaml("compose/prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"worker:{settings.ops.port}"]}]
    (source,) = _yaml("compose/grafana-datasources.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = _yaml("compose/grafana-dashboards.yaml")["providers"]
    folder = provider["options"]["path"]
    assert (ROOT / _mounted("grafana", folder) / "sluicegate.json").is_file()
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].startswith(
        f"{folder}/"
    )


@pytest.mark.promtool
def test_prometheus_takes_its_configuration() -> None:
    checked = promtool("check", "config", ROOT / "compose" / "prometheus.yml")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.kafka
def test_the_images_own_start_takes_kafkas_variables(tmp_path: Path) -> None:
    """Kafka's wrapper writes the broker's file from the variables and formats its storage with it."""
    folders = {name: tmp_path / name for name in ("default", "mounted", "final")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folders["default"] / name).touch()
    given = SERVICES["kafka"]["environment"] | {"KAFKA_LOG_DIRS": str(tmp_path / "data")}
    done = subprocess.run(
        ["java", "-cp", f"{resolve_jars()}/*", "kafka.docker.KafkaDockerWrapper", "setup"]
        + [word for name, folder in folders.items() for word in (f"--{name}-configs-dir", str(folder))],
        env={"PATH": os.environ["PATH"], "CLUSTER_ID": "c2x1aWNlZ2F0ZS10ZXN0cw"} | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "data" / "meta.properties").is_file()
    written = (folders["final"] / "server.properties").read_text(encoding="utf-8")
    assert f"advertised.listeners={given['KAFKA_ADVERTISED_LISTENERS']}" in written


# The image


def test_the_entry_point_is_the_packages_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (entry,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)
    assert entry in project["scripts"]


def test_a_new_volume_for_bundles_belongs_to_the_images_user() -> None:
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
    assert f"install --directory --owner {user} --group {group} /bundles" in DOCKERFILE


def test_the_build_gets_all_that_it_copies() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {f"!{source}" for line in copied for source in line.split()} <= set(sent)
