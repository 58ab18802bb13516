"""One container of a rendered pod as a process: its words, its variables, its probes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rendered.rewriting import Rewriting
from support import endpoint
from support.kafka import dies_with_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chart.rendering import Document
    from rendered.volumes import Surroundings, Volumes

POD_ADDRESS = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""Where kubelet asks: what listens on 127.0.0.1 alone is not there. Other systems have one loopback address only."""

# Of the worker's Dockerfile, and of the base it is built on; the programs are this environment's.
_IMAGE = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_PROGRAMS = (Path(sys.executable).parent, "/usr/local/bin", "/usr/bin", "/bin")

_HEEDED = {
    "name",
    "command",
    "args",
    "env",
    "ports",
    "volumeMounts",
    "restartPolicy",
    *("startupProbe", "livenessProbe", "readinessProbe"),
}
_NOT_IMITATED = {"image", "imagePullPolicy", "securityContext", "resources"}
_KILLED_S = 10.0


class Container:
    """A rendered container; nothing of it is left out but what no process shows.

    Args:
        document: As rendered.
        volumes: Of its pod.
        surroundings: Secrets, and the programs of its image.
        root: Its file system: an empty folder.
        ports: See :class:`~rendered.rewriting.Rewriting`.
    """

    def __init__(
        self,
        document: Document,
        volumes: Volumes,
        surroundings: Surroundings,
        root: Path,
        ports: Mapping[int, int],
    ) -> None:
        unknown = document.keys() - _HEEDED - _NOT_IMITATED
        assert not unknown, f"{document['name']}: no {unknown} here; teach it to tests/rendered"
        self.name: str = document["name"]
        self.document = document
        self.root = root
        self.rewrite = Rewriting.of(document, root, ports)
        volumes.mount(document, self.rewrite)
        self.environment = self._environment(surroundings)
        self.log = root.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def _environment(self, surroundings: Surroundings) -> dict[str, str]:
        own = [surroundings.programs[self.name]] if self.name in surroundings.programs else []
        made = {**_IMAGE, "PATH": ":".join(map(str, [*own, *_PROGRAMS]))}
        if "/tmp" in self.rewrite.mounts:  # noqa: S108 - the pod's
            made["TMPDIR"] = self.rewrite("/tmp")  # noqa: S108 - else Python would take this machine's
        for one in self.document.get("env", ()):
            value = surroundings.secret(one["valueFrom"]["secretKeyRef"]) if "valueFrom" in one else None
            made[one["name"]] = self.rewrite(one["value"]) if value is None else value
        return made

    @property
    def words(self) -> list[str]:
        """The command line that runs here."""
        rendered = [*self.document["command"], *self.document.get("args", ())]
        return [self.rewrite(expanded(word, self.environment)) for word in rendered]

    @property
    def said(self) -> str:
        """All that it has written."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    @property
    def running(self) -> bool:
        """True between its start and its end."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; it dies with the tests."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*dies_with_us(), *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.root,
            )

    def terminate(self) -> None:
        """SIGTERM, as a kubelet ends a container."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, within_s: float) -> int:
        """The exit code.

        Raises:
            AssertionError: It did not end in time.
        """
        assert self._process is not None
        try:
            return self._process.wait(max(within_s, 0))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {within_s:.1f} s:\n{self.said}") from None

    def kill(self) -> None:
        """End it for good, if it runs."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait(_KILLED_S)

    def probe(self, kind: str) -> bool:
        """Ask a probe once, as rendered: ``startup``, ``liveness`` or ``readiness``. True without such a probe."""
        given = self.document.get(f"{kind}Probe")
        timeout_s = given.get("timeoutSeconds", 1) if given else 0
        match given:
            case None:
                return True
            case {"httpGet": dict(get)}:
                return 200 <= self.get(get["path"], get["port"], timeout_s=timeout_s)[0] < 400
            case {"exec": {"command": list(words)}}:
                return self.execute(words, within_s=timeout_s)[0] == 0
            case other:
                raise AssertionError(
                    f"{self.name}: no such probe is asked here; teach it to tests/rendered: {other}"
                )

    def get(self, path: str, port: str | int, *, timeout_s: float = 10) -> tuple[int, str]:
        """Status and body of an answer from the pod's address; (0, "") without one. A port goes by name, too."""
        named = {one["name"]: one["containerPort"] for one in self.document.get("ports", ())}
        number = self.rewrite.ports[named[port] if isinstance(port, str) else port]
        return endpoint.get(POD_ADDRESS, number, path, timeout_s=timeout_s)

    def execute(self, words: Sequence[str], *, within_s: float) -> tuple[int, str]:
        """Run a command in the container, beside its own: its exit code, -1 without an end in time, and its words."""
        try:
            done = subprocess.run(
                [self.rewrite(word) for word in words],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, ""
        return done.returncode, done.stdout.decode()


def expanded(word: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' own ``$(NAME)``; what names no variable stays as it is, such as a shell's ``$(date)``."""

    def instead(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found["name"], found[0])

    return re.sub(r"\$\$|\$\((?P<name>[^)]*)\)", instead, word)
