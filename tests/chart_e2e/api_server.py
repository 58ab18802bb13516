"""A Kubernetes API server of the tests' own: etcd and kube-apiserver on loopback, and nothing else of a cluster.

No controller makes pods of a Deployment, completes a Job or removes a namespace, and no kubelet runs anything.
"""

from __future__ import annotations

import secrets
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from chart_e2e.programs import APISERVER, ETCD
from support.authority import Authority
from support.kafka import dies_with_us, free_ports, tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chart.rendering import Document

_START_S = 120.0  # it writes its default roles first, and shares two cores with others
_STRICT = {"dryRun": "All", "fieldValidation": "Strict"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class _PatientTransport(httpx.HTTPTransport):
    """Asks again where the server says "not yet", as it does of a kind that was just defined."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        while (answer := super().handle_request(request)).status_code == httpx.codes.TOO_MANY_REQUESTS:
            answer.close()
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        return answer


def told(answer: httpx.Response) -> Document:
    """What the server answered.

    Raises:
        AssertionError: It refused; the message is what it said.
    """
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
    said: Document = answer.json()
    return said


class ApiServer:
    """Both programs, started and stopped; RBAC and Kubernetes' default admission are on.

    Args:
        folder: An empty folder for certificates, data and logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._etcd_port, self._etcd_peer, self._port = free_ports(3)
        authority = Authority(folder, "authority")
        self._certificate, self._key = authority.issue("kube-apiserver", "127.0.0.1")
        self._token = secrets.token_hex(16)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._resources: dict[tuple[str, str], Document] = {}
        self.url = f"https://127.0.0.1:{self._port}"
        self._trust = ssl.create_default_context(cafile=str(authority.file))
        self.admin = self.client(self._token)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig(str(authority.file))))

    def client(self, token: str) -> httpx.Client:
        """A client that shows this token."""
        headers = {"Authorization": f"Bearer {token}"}
        transport = _PatientTransport(verify=self._trust)
        return httpx.Client(base_url=self.url, transport=transport, headers=headers, timeout=60)

    def _kubeconfig(self, authority: str) -> Document:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "tests", "cluster": {"server": self.url, "certificate-authority": authority}}
            ],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
            "current-context": "tests",
        }

    def start(self) -> None:
        """Start both, and wait until the API server says that it is ready.

        Raises:
            RuntimeError: One ended, or nothing answered; the message ends in the log's last lines.
        """
        tokens = self._folder / "tokens.csv"
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        clients, peers = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._etcd_peer))
        etcd = {
            "data-dir": self._folder / "etcd",
            "listen-client-urls": clients,
            "advertise-client-urls": clients,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
        }
        api = {
            "etcd-servers": clients,
            "bind-address": "127.0.0.1",
            "secure-port": self._port,
            "tls-cert-file": self._certificate,
            "tls-private-key-file": self._key,
            "token-auth-file": tokens,
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._certificate,
            "service-account-signing-key-file": self._key,
            "service-cluster-ip-range": "10.96.0.0/16",
            "endpoint-reconciler-type": "none",
        }
        self._run(ETCD.path, etcd)
        self._run(APISERVER.path, api)
        self._await_ready()

    def _run(self, program: Path, options: dict[str, Any]) -> None:
        flags = [f"--{name}={value}" for name, value in options.items()]
        with self._log(program).open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [*dies_with_us(), str(program), *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                )
            )

    def _log(self, program: Path) -> Path:
        return self._folder / f"{program.name}.log"

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            for process, program in zip(self._processes, (ETCD.path, APISERVER.path), strict=True):
                if process.poll() is not None:
                    raise RuntimeError(f"{program.name} ended while starting:\n{tail(self._log(program))}")
            try:
                if self.admin.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise RuntimeError(
            f"kube-apiserver was not ready within {_START_S:.0f} s:\n{tail(self._log(APISERVER.path))}"
        )

    def stop(self) -> None:
        """Kill both: nobody reads their data again."""
        self.admin.close()
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    @property
    def version(self) -> str:
        """What the server itself says."""
        return str(told(self.admin.get("/version"))["gitVersion"])

    def path(self, api_version: str, kind: str, namespace: str, name: str = "") -> str:
        """Where objects of a kind are, or one of them."""
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        if (api_version, kind) not in self._resources:
            self._resources |= {(api_version, one["kind"]): one for one in self._listed(root)}
        resource = self._resources[api_version, kind]
        inside = f"/namespaces/{namespace}" if resource["namespaced"] else ""
        return f"{root}{inside}/{resource['name']}" + (f"/{name}" if name else "")

    def _listed(self, root: str) -> list[Document]:
        """The kinds of an API group, without what only belongs to another, such as a status."""
        resources = told(self.admin.get(root))["resources"]
        return [one for one in resources if "/" not in one["name"] and "list" in one["verbs"]]

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Document | None:
        """An object, or None where there is none."""
        answer = self.admin.get(self.path(api_version, kind, namespace, name))
        return None if answer.status_code == httpx.codes.NOT_FOUND else told(answer)

    def create(self, document: Document, namespace: str = "") -> Document:
        """Create an object."""
        path = self.path(document["apiVersion"], document["kind"], namespace)
        return told(self.admin.post(path, json=document))

    def try_pod(self, template: Document, namespace: str) -> httpx.Response:
        """Ask whether a pod of this template would be taken as it stands; nothing is made."""
        metadata = {"name": "tried"} | {
            key: template["metadata"][key] for key in ("labels", "annotations") if key in template["metadata"]
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        return self.admin.post(self.path("v1", "Pod", namespace), json=pod, params=_STRICT)

    def objects(self, namespace: str) -> Iterator[tuple[str, str]]:
        """Kind and name of everything in a namespace, whatever its kind, but for events."""
        groups = told(self.admin.get("/apis"))["groups"]
        for root in ("/api/v1", *(f"/apis/{one['preferredVersion']['groupVersion']}" for one in groups)):
            for resource in self._listed(root):
                if resource["namespaced"] and resource["kind"] != "Event":
                    answer = self.admin.get(f"{root}/namespaces/{namespace}/{resource['name']}")
                    for item in told(answer)["items"]:
                        yield resource["kind"], item["metadata"]["name"]

    def open_namespace(self, name: str) -> str:
        """A namespace with Pod Security `restricted`, and the account that a controller would make in it."""
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": RESTRICTED},
        }
        self.create(namespace)
        self.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, namespace=name
        )
        return name
