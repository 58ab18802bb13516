"""A stand-in for kubelet: one rendered pod as processes of this machine.

As a kubelet does it: init containers one after the other, a native sidecar until its startup probe is green, then the
containers; readiness and liveness once the startup probe is green; at the end SIGTERM to the containers, and to the
sidecars when those have ended, all within the grace period.

Not imitated: images (programs are those of this environment), users and rights of files, read-only roots, resources,
networks, restarts, and a probe's pace: it is asked several times a second, within the time that the chart gives it.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rendered.container import Container
from rendered.rewriting import Rewriting
from rendered.volumes import Volumes
from support.kafka import free_ports, tail
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from chart.rendering import Document
    from rendered.volumes import Surroundings

OPS, ENGINE, ENGINE_METRICS = 8080, 8000, 8001
"""The ports of the chart."""
_LONGEST_S = 120.0  # where the chart gives more, such as half an hour for an engine


class Pod:
    """One pod. Use as a context manager: leaving kills what still runs.

    Args:
        document: The pod, or a pod template.
        surroundings: What it finds.
        folder: An empty folder for its files and logs.
        ports: What takes the place of the chart's; free ones unless given.
    """

    def __init__(
        self,
        document: Document,
        surroundings: Surroundings,
        folder: Path,
        *,
        ports: Mapping[int, int] | None = None,
    ) -> None:
        self._spec = document["spec"]
        self._surroundings = surroundings
        self._folder = folder
        self._ports = ports or dict(zip((OPS, ENGINE, ENGINE_METRICS), free_ports(3), strict=True))
        first = self._spec["containers"][0]
        settings = Rewriting.of(first, folder / first["name"], self._ports)
        self._volumes = Volumes(document, surroundings, folder / "volumes", settings=settings)
        self._sidecars: list[Container] = []
        self._main: list[Container] = []
        self.containers: dict[str, Container] = {}
        self.events: list[str] = []
        """What became of its containers, in order; an answer of a probe that is the last one's again is not repeated."""

    @property
    def grace_s(self) -> float:
        """All the time that the chart gives it to end."""
        return float(self._spec["terminationGracePeriodSeconds"])

    def start(self) -> None:
        """Start it as a kubelet does, and return when it is ready."""
        for document in self._spec.get("initContainers", ()):
            container = self._run(document)
            if document.get("restartPolicy") == "Always":
                self._sidecars.append(container)
                self._until_green(container, "startup")
            else:
                assert self._ended(container, _LONGEST_S) == 0, container.said
        self._main = [self._run(document) for document in self._spec["containers"]]
        for container in self._main:
            self._until_green(container, "startup")
            self._until_green(container, "readiness")

    def complete(self) -> tuple[int, str]:
        """Run a pod with one container to its end: its exit code and all that it said."""
        (document,) = self._spec["containers"]
        container = self._run(document)
        return self._ended(container, _LONGEST_S), container.said

    def end(self) -> None:
        """End it as a kubelet does.

        Raises:
            AssertionError: It took longer than its grace period: a kubelet would have killed it.
        """
        deadline = time.monotonic() + self.grace_s
        for container in self._main:
            container.terminate()
        for container in self._main:
            self._ended(container, deadline - time.monotonic())
        for sidecar in reversed(self._sidecars):
            self.ask(sidecar, "liveness")
            sidecar.terminate()
            self._ended(sidecar, deadline - time.monotonic())

    def ask(self, container: Container, probe: str) -> bool:
        """Ask a probe, and note its answer."""
        green = container.probe(probe)
        self._note(f"{container.name} {probe}: {'yes' if green else 'no'}")
        return green

    def left_behind(self) -> list[str]:
        """Processes that inherited this pod's folder in their environment (Linux; elsewhere none are found)."""
        mark, found = str(self._folder).encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def container(self, document: Document) -> Container:
        """Lay a container out."""
        root = self._folder / document["name"]
        root.mkdir(parents=True)
        made = Container(document, self._volumes, self._surroundings, root, self._ports)
        self.containers[made.name] = made
        return made

    def _run(self, document: Document) -> Container:
        container = self.container(document)
        container.start()
        self._note(f"{container.name} runs")
        return container

    def _until_green(self, container: Container, probe: str) -> None:
        def green() -> bool:
            assert container.running, f"{container.name} has ended:\n{container.said}"
            return self.ask(container, probe)

        given = container.document.get(f"{probe}Probe", {})
        # What fails more often for the startup probe is restarted; unready containers may be so for ever.
        within_s = given.get("periodSeconds", 10) * given.get("failureThreshold", 3)
        until(
            f"{container.name} {probe}",
            green,
            within_s=min(within_s, _LONGEST_S) if probe == "startup" else _LONGEST_S,
        )

    def _ended(self, container: Container, within_s: float) -> int:
        code = container.wait(within_s)
        self._note(f"{container.name} ended with {code}")
        return code

    def _note(self, event: str) -> None:
        if not self.events or self.events[-1] != event:
            self.events.append(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for container in self.containers.values():
            container.kill()
            print(f"--- {container.name}, last lines\n{tail(container.log, 25)}")
        shutil.rmtree(self._folder / "volumes", ignore_errors=True)  # bundles are large
