"""The chart as real Helm renders it, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.kafka import cache_folder

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "sluicegate"
OLDEST, NEWEST = "1.29.0", "1.37.0"
"""What Chart.yaml asks for, and the newest that the schemas at hand know."""
APIS = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1", "kafka.strimzi.io/v1")
NEEDED = {"oci": "1.35.0", "sglang": "1.34.0"}
"""Files of ci/ with a field that older versions drop silently: an image volume, a resource claim."""
BUILD = "go install helm.sh/helm/v3/cmd/helm@v3.22.0"

Document = dict[str, Any]


def find_helm() -> str | None:
    """Path of Helm: on PATH, or where `.ci/run` builds it."""
    own = cache_folder() / "bin" / "helm"
    return shutil.which("helm") or (str(own) if own.is_file() else None)


@dataclass(frozen=True)
class Way:
    """One way of installing: a file of ci/ on a version of Kubernetes."""

    name: str
    kubernetes: str

    def __str__(self) -> str:
        return f"{self.name}-{self.kubernetes}"

    @property
    def values(self) -> Path:
        return CHART / "ci" / f"{self.name}-values.yaml"


NAMES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
WAYS = [Way(name, version) for name in NAMES for version in (NEEDED.get(name, OLDEST), NEWEST)]


@dataclass
class Answer:
    """What Helm said."""

    code: int
    said: str
    objects: list[Document] = field(default_factory=list)

    def of(self, kind: str, suffix: str = "") -> Document:
        """The one object of a kind whose name ends so."""
        (found,) = [
            one for one in self.objects if one["kind"] == kind and one["metadata"]["name"].endswith(suffix)
        ]
        return found

    def all(self, kind: str) -> list[Document]:
        return [one for one in self.objects if one["kind"] == kind]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm with a home of its own: nobody's plugins, repositories or cluster."""
    program = find_helm()
    assert program is not None
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": f"{home}/none"}
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=120, env=environment
        )


def template(
    *arguments: str, kubernetes: str = NEWEST, apis: tuple[str, ...] = APIS, release: str = "guard"
) -> subprocess.CompletedProcess[str]:
    """`helm template` with further arguments, such as ``--set``."""
    served = [word for api in apis for word in ("--api-versions", api)]
    return helm(
        "template", release, str(CHART), "-n", "moderation", "--kube-version", kubernetes, *served, *arguments
    )


def render(
    *arguments: str, kubernetes: str = NEWEST, apis: tuple[str, ...] = APIS, release: str = "guard"
) -> Answer:
    """The objects that it makes, or what it says against it."""
    done = template(*arguments, kubernetes=kubernetes, apis=apis, release=release)
    objects = list(filter(None, yaml.safe_load_all(done.stdout))) if done.returncode == 0 else []
    return Answer(done.returncode, done.stderr, objects)


@cache
def rendered(way: Way) -> Answer:
    """A way of installing, rendered once."""
    answer = render("-f", str(way.values), kubernetes=way.kubernetes)
    assert answer.code == 0, answer.said
    return answer


def newest(name: str) -> Answer:
    """A file of ci/ on the newest Kubernetes."""
    return rendered(Way(name, NEWEST))


def pods(answer: Answer) -> list[Document]:
    """The pod of every workload: ``metadata`` and ``spec``."""
    templates = [one["spec"]["template"] for one in answer.all("Deployment") + answer.all("Job")]
    return templates + answer.all("Pod")


def containers(pod: Document) -> list[Document]:
    spec = pod["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def deployment(answer: Answer, component: str = "worker") -> Document:
    """The Deployment of the workers, or of another component."""
    (found,) = [
        one
        for one in answer.all("Deployment")
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    return found


def worker(answer: Answer) -> Document:
    """The worker's container."""
    (found,) = deployment(answer)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found
