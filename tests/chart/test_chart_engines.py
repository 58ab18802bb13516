"""Profile gpu, four ways: the model in the worker's process, or vLLM, SGLang or trtllm-serve beside it."""

from __future__ import annotations

import http.server
import json
import shlex
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml
from typer.testing import CliRunner

from chart.rendering import CHART, containers, newest, render, worker
from sluicegate.engines.backends.releases import RELEASES
from sluicegate.pipeline.command import app
from support.kafka import free_ports
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chart.rendering import Answer, Document
    from sluicegate.engines.backends.releases import Release

pytestmark = pytest.mark.helm

BESIDE = ("vllm", "sglang", "trtllm-serve")
"""Kinds with a server beside the worker, which are files of ci/, too."""
WAYS = ("gpu", *BESIDE)


def _spec(answer: Answer) -> Document:
    spec: Document = answer.of("Deployment")["spec"]["template"]["spec"]
    return spec


def _named(answer: Answer, name: str) -> Document:
    (found,) = [one for one in containers({"spec": _spec(answer)}) if one["name"] == name]
    return found


def _settings(answer: Answer) -> Document:
    settings: Document = yaml.safe_load(answer.of("ConfigMap", "-settings")["data"]["settings.yaml"])
    return settings


def _asks_for_a_gpu(container: Document) -> bool:
    resources = container.get("resources", {})
    return "claims" in resources or any(
        name.startswith("nvidia.com/") for name in resources.get("limits", {})
    )


@pytest.mark.parametrize(
    ("name", "holder", "resources"),
    [
        ("gpu", "worker", {"limits": {"nvidia.com/gpu": 1}, "requests": {"memory": "32Gi"}}),
        ("vllm", "engine", {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "4", "memory": "48Gi"}}),
        ("sglang", "engine", {"claims": [{"name": "gpu"}]}),
        ("trtllm-serve", "engine", {"limits": {"nvidia.com/mig-3g.40gb": 1}}),
    ],
)
def test_the_gpu_goes_to_the_container_that_runs_the_model_and_to_no_other(
    name: str, holder: str, resources: Document
) -> None:
    answer = newest(name)
    found = [one for one in containers({"spec": _spec(answer)}) if _asks_for_a_gpu(one)]
    assert [(one["name"], one["resources"]) for one in found] == [(holder, resources)]
    claims = [{"name": "gpu", "resourceClaimTemplateName": "guard-gpu"}] if name == "sglang" else None
    assert _spec(answer).get("resourceClaims") == claims
    mounts = {one["mountPath"]: one["name"] for one in found[0]["volumeMounts"]}
    volumes = {one["name"]: one for one in _spec(answer)["volumes"]}
    shm = volumes[mounts["/dev/shm"]]["emptyDir"]  # noqa: S108 - the pod's
    assert shm == {"medium": "Memory", "sizeLimit": "16Gi" if name == "sglang" else "4Gi"}


@pytest.mark.parametrize("name", WAYS)
def test_who_runs_the_model_asks_nothing_of_the_internet_and_reports_nothing(name: str) -> None:
    holder = _named(newest(name), "worker" if name == "gpu" else "engine")
    given = {one["name"]: one.get("value") for one in holder["env"]}
    assert given | {"USER": "sluicegate", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"} == given


def test_in_process_is_the_default_and_has_no_second_container() -> None:
    answer = newest("gpu")
    assert "initContainers" not in _spec(answer)
    assert _settings(answer)["engine"] == {"backend": "tensorrt_llm", "bundle": "/bundles/guard"}
    images = {pod["spec"]["containers"][0]["image"] for pod in answer.all("Pod")}
    assert worker(answer)["image"] not in images, "a test needs none of its gigabytes"


@pytest.mark.parametrize("name", BESIDE)
def test_a_server_is_up_before_the_worker_and_while_it_drains(name: str) -> None:
    beside = [one for one in _spec(newest(name))["initContainers"] if one.get("restartPolicy") == "Always"]
    assert beside[0]["name"] == "engine"
    assert [one["name"] for one in beside[1:]] == ([] if name == "trtllm-serve" else ["engine-metrics"])
    assert {"startupProbe", "livenessProbe"} <= beside[0].keys()


@pytest.mark.parametrize("name", BESIDE)
def test_a_server_is_started_and_asked_as_its_plan_says(name: str, tmp_path: Path) -> None:
    """The rendered command is run on a bundle: what it prints is what the sidecar executes and the worker asks."""
    runtime = "engine" if name == "trtllm-serve" else "pytorch"
    bundle = write_trtllm_bundle(
        tmp_path / "guard",
        runtime,
        tokenizer_folder="hf",
        lora={"max_rank": 12, "target_modules": ["attn_q"]},
    )
    answer = newest(name)
    line = _named(answer, "plan-engine")["command"][2].removesuffix(" > /engine/plan.json")
    places = {"/bundles/guard": str(bundle), "/engine": str(tmp_path)}
    words = [places.get(word, word) for word in shlex.split(line)]
    assert words[0] == "sluicegate"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    asked = _settings(answer)["engine"]
    planned = plan["settings"]["engine"]
    assert {key: planned[key] for key in ("backend", "dialect", "url")} == {
        key: asked[key] for key in ("backend", "dialect", "url")
    }
    assert plan["command"][plan["command"].index("--host") + 1] == "127.0.0.1"
    assert plan["metrics"] == ("" if name == "trtllm-serve" else "http://127.0.0.1:8000/metrics")
    assert _named(answer, "engine")["command"][:2] == ["python3", "-c"]


def test_the_words_of_the_values_come_behind_those_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"command": ["printf", "%s\n", "--port", "8000"]}))
    engine = _named(newest("vllm"), "engine")
    script = engine["command"][2].replace("/engine/plan.json", str(tmp_path / "plan.json"))
    done = subprocess.run(
        [sys.executable, "-c", script, *engine["args"]], capture_output=True, check=True, text=True
    )
    assert done.stdout.split() == ["--port", "8000", *engine["args"]]
    assert "--lora-modules" in engine["args"]
    assert {"name": "VLLM_LOGGING_LEVEL", "value": "WARNING"} in engine["env"]
    assert {"name": "adapters", "mountPath": "/adapters", "readOnly": True} in engine["volumeMounts"]


def test_the_images_are_of_the_releases_that_the_code_is_written_for() -> None:
    tags = {
        name: _named(newest(name), "engine")["image"].rpartition(":")[2].removeprefix("v") for name in BESIDE
    }
    known: dict[str, str] = {one.server: one.version for one in reversed(RELEASES)}
    assert tags == {name: known[name] for name in BESIDE}


@pytest.mark.parametrize("release", [one for one in RELEASES if one.server == "trtllm-serve"], ids=str)
def test_each_release_of_trtllm_serve_is_asked_in_its_own_way(release: Release) -> None:
    values = ("-f", str(CHART / "ci" / "trtllm-serve-values.yaml"))
    answer = render(*values, "--set-string", f"engine.image.tag={release.version}")
    assert _settings(answer)["engine"]["dialect"] == release.dialect
    assert f"--version {release.version} " in _named(answer, "plan-engine")["command"][2]


# In process: the probe that waits for the engine


@contextmanager
def _ops_port(status: int, body: Document) -> Iterator[int]:
    """A worker's ops port, which says this of its readiness."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _has_started(port: int) -> bool:
    """The startup probe as rendered, but for its port."""
    command = worker(newest("gpu"))["startupProbe"]["exec"]["command"]
    assert command[:2] == ["python", "-c"]
    script = command[2].replace("8080", str(port))
    return subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("missing", "started"),
    [
        ({"engine": "no answer yet"}, False),
        ({"engine.adapters.teens": "refused"}, True),
        ({}, True),
    ],
)
def test_a_worker_has_started_once_its_own_engine_has_scored(missing: Document, started: bool) -> None:
    with _ops_port(503, {"ok": False, "engines_missing": missing}) as port:
        assert _has_started(port) is started


def test_a_worker_that_does_not_answer_has_not_started() -> None:
    assert not _has_started(*free_ports(1))


def test_loading_has_its_time_beside_that_of_reading_the_bundle() -> None:
    probe = worker(newest("gpu"))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 900 + 1800
    assert probe["timeoutSeconds"] > 4, "the script gives up first"


# A server's own metrics


@pytest.mark.parametrize(("name", "port"), [("vllm", 8001), ("sglang", 8002)])
def test_a_servers_metrics_are_scraped_as_a_job_of_their_own(name: str, port: int) -> None:
    answer = newest(name)
    relay = _named(answer, "engine-metrics")
    assert relay["ports"] == [{"name": "engine-metrics", "containerPort": port}]
    assert relay["args"] == ["/engine/plan.json", str(port)]
    assert relay["image"] == worker(answer)["image"]
    monitor = answer.of("PodMonitor", "-engine")["spec"]
    assert monitor["selector"] == answer.of("PodMonitor", "-sluicegate")["spec"]["selector"]
    assert [(one["port"], one["path"]) for one in monitor["podMetricsEndpoints"]] == [
        ("engine-metrics", "/metrics")
    ]


def test_the_network_lets_a_scrape_in_and_nobody_to_the_server() -> None:
    (rule,) = newest("vllm").of("NetworkPolicy")["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == [8080, 8001]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "monitoring"
    }
    (plain,) = newest("trtllm-serve").of("NetworkPolicy")["spec"]["ingress"]
    assert [one["port"] for one in plain["ports"]] == [8080]


def test_without_metrics_there_is_nothing_of_them() -> None:
    off = ("--set", "engine.metrics.enabled=false")
    answer = render("-f", str(CHART / "ci" / "vllm-values.yaml"), *off)
    assert [one["metadata"]["name"] for one in answer.all("PodMonitor")] == ["guard-sluicegate"]
    assert "--metrics" not in _named(answer, "plan-engine")["command"][2]
    assert [one["name"] for one in _spec(answer)["initContainers"]] == ["plan-engine", "engine"]
