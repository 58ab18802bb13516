"""Between what is rendered and what runs are mount paths and ports, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chart.rendering import containers, newest
from rendered.container import expanded
from rendered.pod import ENGINE, ENGINE_METRICS, OPS, Pod
from rendered.rewriting import Rewriting
from rendered.volumes import SETTINGS, Surroundings

if TYPE_CHECKING:
    from chart.rendering import Document

PORTS = {OPS: 41080, ENGINE: 41000, ENGINE_METRICS: 41001}
SECRETS = {
    "events-cluster-ca-cert": {"ca.crt": b"/tmp 8080"},
    "sluicegate": {"password": b"/tmp 8080"},
}
CHANGED = {
    "cpu": {"  bundle: /bundles/guard", "  port: 8080"},
    "gpu": {
        "  bundle: /bundles/guard",
        "    ca_file: /etc/sluicegate/kafka/ca/ca.crt",
        "    password_file: /etc/sluicegate/kafka/sasl/password",
        "  port: 8080",
        "  path: /etc/sluicegate/policies/forum.yaml",
    },
    "vllm": {
        "  bundle: /bundles/guard",
        "      bundle: /adapters/teens",
        "  url: http://127.0.0.1:8000",
        "  port: 8080",
    },
}


def back(text: str, root: Path) -> str:
    """The text without the root, and with the rendered ports."""
    for rendered, here in PORTS.items():
        text = text.replace(str(here), str(rendered))
    return text.replace(str(root), "")


def probed(container: Document) -> list[str]:
    """Words of commands that probes run."""
    probes = [container.get(f"{kind}Probe", {}) for kind in ("startup", "liveness", "readiness")]
    return [word for probe in probes for word in probe.get("exec", {}).get("command", ())]


@pytest.mark.helm
@pytest.mark.parametrize("profile", CHANGED)
def test_nothing_but_paths_of_mounts_and_ports_is_rewritten(profile: str, tmp_path: Path) -> None:
    answer = newest(profile)
    template = answer.of("Deployment")["spec"]["template"]
    pod = Pod(template, Surroundings(answer, SECRETS), tmp_path, ports=PORTS)
    for document in containers(template):
        made = pod.container(document)
        given = [*document["command"], *document.get("args", ())]
        assert [back(word, made.root) for word in made.words] == given
        assert all(back(made.rewrite(word), made.root) == word for word in probed(document))
        variables = {one["name"]: one["value"] for one in document["env"] if "value" in one}
        assert {name: back(made.environment[name], made.root) for name in variables} == variables
    worker = pod.containers["worker"]
    rendered = answer.of("ConfigMap", "-settings")["data"][SETTINGS]
    here = worker.rewrite.place("/etc/sluicegate/settings").joinpath(SETTINGS).read_text(encoding="utf-8")
    assert back(here, worker.root) == rendered
    lines = zip(rendered.splitlines(), here.splitlines(), strict=True)
    assert {before for before, after in lines if before != after} == CHANGED[profile]


@pytest.mark.helm
def test_other_files_are_as_rendered_to_the_byte(tmp_path: Path) -> None:
    answer = newest("gpu")
    template = answer.of("Deployment")["spec"]["template"]
    pod = Pod(template, Surroundings(answer, SECRETS), tmp_path, ports=PORTS)
    worker = pod.container(template["spec"]["containers"][0])
    policies = worker.rewrite.place("/etc/sluicegate/policies")
    found = {path.name: path.read_text(encoding="utf-8") for path in policies.glob("*.yaml")}
    assert found == answer.of("ConfigMap", "-policies")["data"]
    for file in ("ca/ca.crt", "sasl/password"):
        assert worker.rewrite.place(f"/etc/sluicegate/kafka/{file}").read_bytes() == b"/tmp 8080"


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("/data", "/r/data"),
        ('open("/data/a")', 'open("/r/data/a")'),
        ("--out=/data:/bundles/guard", "--out=/r/data:/r/bundles/guard"),
        ("http://127.0.0.1:8000/health", "http://127.0.0.1:41000/health"),
        ("/var/data /datafs /data.old s3://models/bundles", None),
        ("https://8080.example 18080 0.8080 sha256:8080ab", None),
    ],
)
def test_words_are_rewritten_whole_and_once(text: str, here: str | None) -> None:
    rewrite = Rewriting(Path("/r"), ("/data", "/bundles"), PORTS)
    assert rewrite(text) == (text if here is None else here)
    assert Rewriting(Path("/data/r"), ("/data",), PORTS)("/data/a") == "/data/r/data/a"


def test_a_reference_to_a_variable_is_kubernetes_and_everything_else_is_the_shells() -> None:
    text = 'a=$(date +%s) b=$(($(date +%s) + 1)) "$a" $(HOME) $$(HOME)'
    assert expanded(text, {"HOME": "/h"}) == 'a=$(date +%s) b=$(($(date +%s) + 1)) "$a" /h $(HOME)'


@pytest.mark.helm
def test_what_is_not_imitated_is_told(tmp_path: Path) -> None:
    container = {"name": "worker", "command": ["true"], "lifecycle": {}}
    pod = Pod({"spec": {"containers": [container]}}, Surroundings(newest("cpu")), tmp_path)
    with pytest.raises(AssertionError, match=r"worker: no \{'lifecycle'\} here"):
        pod.container(container)
