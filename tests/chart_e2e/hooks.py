"""A stand-in for the Job controller and a kubelet: what Helm waits for is said to have ended.

Nothing runs. The commands of these Jobs and pods run for real in tests/chart and tests/integration.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from chart_e2e.api_server import told

if TYPE_CHECKING:
    from types import TracebackType

    from chart.rendering import Document
    from chart_e2e.api_server import ApiServer

_LOOK_S = 0.1
MERGE = {"Content-Type": "application/merge-patch+json"}


class Finished(NamedTuple):
    """One hook, and what was in the namespace when it ended."""

    kind: str
    name: str
    deployments: dict[str, int]
    """Name to generation: what had been rolled out by then."""


class HookStandIn:
    """Ends the Jobs and pods of one namespace that are Helm's hooks, well or badly, while it is entered."""

    def __init__(self, server: ApiServer, namespace: str, *, well: bool = True) -> None:
        self._server = server
        self._namespace = namespace
        self._well = well
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._failure: Exception | None = None
        self.finished: list[Finished] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        try:
            while not self._leave.wait(_LOOK_S):
                for api_version, kind in (("batch/v1", "Job"), ("v1", "Pod")):
                    for item in self._items(api_version, kind):
                        if "helm.sh/hook" in item["metadata"].get("annotations", {}):
                            self._finish(api_version, kind, item)
        except Exception as error:  # noqa: BLE001 - told to whom started the thread
            self._failure = error

    def _items(self, api_version: str, kind: str) -> list[Document]:
        path = self._server.path(api_version, kind, self._namespace)
        items: list[Document] = told(self._server.admin.get(path))["items"]
        return items

    def _finish(self, api_version: str, kind: str, item: Document) -> None:
        held = item.get("status", {})
        if held.get("conditions") or held.get("phase") in ("Succeeded", "Failed"):
            return
        deployments = {
            one["metadata"]["name"]: one["metadata"]["generation"]
            for one in self._items("apps/v1", "Deployment")
        }
        name = item["metadata"]["name"]
        path = self._server.path(api_version, kind, self._namespace, name)
        status = (_job if kind == "Job" else _pod)(well=self._well)
        told(self._server.admin.patch(f"{path}/status", json={"status": status}, headers=MERGE))
        self.finished.append(Finished(kind, name, deployments))


def _job(*, well: bool) -> Document:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = ("SuccessCriteriaMet", "Complete") if well else ("FailureTarget", "Failed")
    conditions = [
        {"type": word, "status": "True", "reason": "StandIn", "lastTransitionTime": now} for word in words
    ]
    end = {"succeeded": 1, "completionTime": now} if well else {"failed": 1}
    return {"startTime": now, "conditions": conditions} | end


def _pod(*, well: bool) -> Document:
    return {"phase": "Succeeded" if well else "Failed"}
