"""Releases that real Helm makes on the tests' API server."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from chart.rendering import CHART, ROOT, helm
from chart_e2e.hooks import Finished, HookStandIn
from chart_e2e.keeping import dropped

if TYPE_CHECKING:
    from pathlib import Path

    from chart.rendering import Document
    from chart_e2e.api_server import ApiServer

(PREVIOUS,) = sorted((ROOT / "tests" / "chart" / "previous").glob("*.tgz"))[-1:]
"""The chart that was packaged before this one."""


@dataclass
class Tally:
    """What Helm did on the API server, over all releases."""

    commands: Counter[str] = field(default_factory=Counter)
    installed: set[str] = field(default_factory=set)
    """Files of ci/ by their names, such as ``cpu``."""

    def __str__(self) -> str:
        times = ", ".join(f"{count} {command}" for command, count in sorted(self.commands.items()))
        return f"{times}; installed: {', '.join(sorted(self.installed))}"


@dataclass
class Release:
    """One release in a namespace of its own."""

    server: ApiServer
    namespace: str
    tally: Tally
    name: str = "guard"
    finished: list[Finished] = field(default_factory=list)
    """The hooks of Helm's last command."""

    def helm(self, *arguments: str, well: bool = True) -> str:
        """Run Helm while the stand-in ends its hooks, and give what it printed.

        Raises:
            AssertionError: Helm failed; the message is what it said.
        """
        where = ("-n", self.namespace, "--kubeconfig", str(self.server.kubeconfig))
        with HookStandIn(self.server, self.namespace, well=well) as stand_in:
            done = helm(arguments[0], self.name, *arguments[1:], *where)
        self.finished = stand_in.finished
        if done.returncode:
            raise AssertionError(done.stderr)
        self.tally.commands[arguments[0]] += 1
        return done.stdout

    def install(self, values: Path, chart: Path = CHART, more: tuple[str, ...] = ()) -> str:
        said = self.helm("install", str(chart), "-f", str(values), *more)
        if chart == CHART:
            self.tally.installed.add(values.name.removesuffix("-values.yaml"))
        return said

    def upgrade(self, values: Path, *more: str, well: bool = True) -> str:
        return self.helm("upgrade", str(CHART), "-f", str(values), *more, well=well)

    def get(self, what: str) -> list[Document]:
        """What Helm keeps of the release: ``manifest`` or ``hooks``."""
        where = ("-n", self.namespace, "--kubeconfig", str(self.server.kubeconfig))
        done = helm("get", what, self.name, *where)
        assert done.returncode == 0, done.stderr
        return list(filter(None, yaml.safe_load_all(done.stdout)))

    def live(self, document: Document) -> Document | None:
        return self.server.get(
            document["apiVersion"], document["kind"], self.namespace, document["metadata"]["name"]
        )

    @property
    def worker(self) -> str:
        """Name of the workers' Deployment."""
        (name,) = [
            name for kind, name in self.names() if kind == "Deployment" and not name.endswith("-review")
        ]
        return name

    def deployment(self) -> Document:
        """The workers' Deployment as it is on the server."""
        found = self.server.get("apps/v1", "Deployment", self.namespace, self.worker)
        assert found is not None
        return found

    def lost(self) -> list[str]:
        """What the server has not as Helm sent it."""
        return [
            f"{one['kind']} {one['metadata']['name']}{place}"
            for one in self.get("manifest")
            for place in dropped(one, self.live(one) or {})
        ]

    def state(self) -> dict[tuple[str, str], Document]:
        """The release's objects as they are on the server, without what differs between two namespaces."""
        return {
            (one["kind"], one["metadata"]["name"]): _lasting(self.live(one) or {}, self.namespace)
            for one in self.get("manifest")
        }

    def names(self) -> set[tuple[str, str]]:
        """Kind and name of what is in the release."""
        return {(one["kind"], one["metadata"]["name"]) for one in self.get("manifest")}

    def there(self) -> set[tuple[str, str]]:
        """Kind and name of what is in the namespace, but for Helm's own records and the account made by hand."""
        return {
            (kind, name)
            for kind, name in self.server.objects(self.namespace)
            if not (kind == "Secret" and name.startswith("sh.helm.release."))
            and (kind, name) != ("ServiceAccount", "default")
        }


def _lasting(live: Document, namespace: str) -> Document:
    metadata = live.get("metadata", {})
    kept = {key: metadata.get(key) for key in ("labels", "annotations")}
    text = json.dumps(live | {"metadata": kept, "status": None}).replace(namespace, "moderation")
    text = re.sub(
        r"sluicegate-[0-9a-f]{12}\b", "sluicegate-uid", text
    )  # a dashboard's, made of the namespace
    # A Service's address is its own.
    text = re.sub(r'"10\.96\.\d+\.\d+"', '"address"', text)
    # A Job's pods are labelled with it.
    lasting: Document = json.loads(text.replace(metadata.get("uid", namespace), "uid"))
    return lasting


@cache
def _previous_schema() -> Document:
    with tarfile.open(PREVIOUS) as archive:
        file = archive.extractfile("sluicegate/values.schema.json")
        assert file is not None
        schema: Document = json.load(file)
        return schema


def values_for_previous(values: Path) -> Document | None:
    """The same values, less what the chart of before does not know; None where it has not the profile."""
    schema = _previous_schema()
    tree = yaml.safe_load(values.read_text(encoding="utf-8"))
    known: Document = _known(tree, schema)
    return known if known["profile"] in schema["properties"]["profile"]["enum"] else None


def _known(tree: Any, schema: Document) -> Any:
    if not isinstance(tree, dict) or schema.get("additionalProperties") is not False:
        return tree
    fields = schema.get("properties", {})
    return {key: _known(value, fields[key]) for key, value in tree.items() if key in fields}
