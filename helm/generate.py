"""The chart's values.schema.json and README.md, made from values.yaml and from the settings model.

``python helm/generate.py`` writes both; a test compares them. A key of values.yaml is documented by the
comment above it, from ``# --`` on; a line ``# @schema {…}`` in it is what its type does not say. Objects
take no other keys than those that stand there, unless that line has ``additionalProperties``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sluicegate.pipeline.settings.tree import Settings

CHART = Path(__file__).parent / "sluicegate"

OWNED: dict[str, dict[str, str] | str] = {
    "kafka": {
        "bootstrap_servers": "given as kafka.bootstrapServers",
        "security": "given as kafka.security",
    },
    "engine": {
        "backend": "given by profile and engine.kind",
        "bundle": "given by engine.uri",
        "digest": "given as engine.digest",
        "url": "given as engine.url, or by engine.kind",
        "dialect": "given as engine.dialect, or by engine.kind",
        "api_key": "in a Secret that engine.apiKey.existingSecret names",
    },
    "cache": {
        "redis_url": "in a Secret, given as the variable SLUICEGATE_CACHE__REDIS_URL in extraEnv",
    },
    "policy": "given by policy.file",
    "review": {
        "store": "in a Secret that review.database.existingSecret names",
        "key": "in a Secret that review.vault.existingSecret names",
        "oidc_client_secret": "in a Secret that review.oidc.existingSecret names",
        "public_url": "given by review.host",
        "host": "left out: it is that of ops.host",
        "port": "left out: it is 8787",
    },
    "candidate": {
        "experiment": "given as engine.candidate.experiment",
        "policy": "given as engine.candidate.policyFile",
        "keys": "given by engine.candidate.keys.existingConfigMap",
        "key": "in a Secret that engine.candidate.key.existingSecret names",
        "share": "given as engine.candidate.share",
        "state_file": "left out: engine.candidate.state says where it is",
    },
    "ops": {"port": "left out: it is 8080"},
}
"""Settings that the chart sets itself, or that are secrets, with the value that is meant: read after "value must be"."""

STRAYED: dict[tuple[str, ...], str] = {
    ("replicaCount",): "given as replicas",
    ("env",): "given as extraEnv",
    ("config",): "given as settings",
    ("serviceMonitor",): "given as podMonitor: workers have no Service",
    ("service",): "left out: nothing asks a worker but probes and scrapes",
    ("ingress",): "left out: posts come by Kafka",
    ("image", "name"): "given as image.repository",
    ("kafka", "brokers"): "given as kafka.bootstrapServers",
    ("kafka", "bootstrapServer"): "given as kafka.bootstrapServers",
    ("kafka", "security", "sasl", "password"): "in a Secret that kafka.security.sasl.existingSecret names",
    (
        "engine",
        "build",
    ): "left out: run `sluicegate engine build` (docs/engine.md), then set engine.uri and engine.digest",
    ("engine", "server"): "given as engine.kind",
    ("engine", "backend"): "given by profile and engine.kind",
    ("engine", "args"): "given as engine.extraArgs",
    ("engine", "env"): "given as engine.extraEnv",
    ("engine", "port"): "left out: a server beside the worker listens on 127.0.0.1:8000",
    ("engine", "apiKey", "value"): "in a Secret that engine.apiKey.existingSecret names",
    ("review", "replicas"): "left out: it is 1, as a second desk would read and send everything again",
    ("review", "database", "url"): "in a Secret that review.database.existingSecret names",
    ("review", "database", "password"): "in a Secret that review.database.existingSecret names",
    ("review", "vault", "value"): "in a Secret that review.vault.existingSecret names",
    ("review", "oidc", "issuer"): "given as settings.review.oidc_issuer",
    ("review", "oidc", "clientId"): "given as settings.review.oidc_client_id",
    ("review", "oidc", "clientSecret"): "in a Secret that review.oidc.existingSecret names",
    ("review", "settings"): "given as settings.review",
    ("review", "ingress", "host"): "given as review.host",
    (
        "autoscaling",
        "targetCPUUtilizationPercentage",
    ): "left out: CPU says nothing of lag; set postsPerSecond",
    ("autoscaling", "pollingInterval"): "left out: KEDA heeds it only where there may be no worker",
}
"""Keys of other charts, and of those who would put a password here, with what is meant, in the same way."""

READ = {
    "kafka": (),
    "topics": ("posts", "allow", "review", "block", "dead_letter"),
    "drain": ("budget_s",),
}
"""Settings that templates read: another value is welcome, `null` would leave a hole in an object."""

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_KEY = re.compile(r"^( *)([A-Za-z0-9_.-]+):")
_DIALECT = "http://json-schema.org/draft-07/schema#"


@dataclass
class Entry:
    """One documented key."""

    path: tuple[str, ...]
    default: Any
    text: str
    extra: dict[str, Any] = field(default_factory=dict)
    is_settings: bool = False

    @property
    def is_section(self) -> bool:
        """True for an object whose keys are documented one by one."""
        free = self.is_settings or "additionalProperties" in self.extra
        return isinstance(self.default, dict) and not free


def entries(text: str) -> list[Entry]:
    """Every key of a values file, in its order.

    Raises:
        ValueError: A key has no comment.
    """
    found: list[Entry] = []
    comment: list[str] = []
    path: list[str] = []
    skip_below: int | None = None
    tree = yaml.safe_load(text)
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").strip())
            continue
        key = _KEY.match(line)
        depth = len(key[1]) // 2 if key else None
        if depth is not None and key is not None and (skip_below is None or depth <= skip_below):
            skip_below = None
            path = [*path[:depth], key[2]]
            entry = _entry(tuple(path), tree, comment)
            found.append(entry)
            if isinstance(entry.default, dict | list) and not entry.is_section:
                skip_below = depth
        comment = []
    return found


def _entry(path: tuple[str, ...], tree: Any, comment: list[str]) -> Entry:
    default = tree
    for name in path:
        default = default[name]
    words, extra, is_settings, begun = [], {}, False, False
    for line in comment:
        if line.startswith("@schema "):
            extra = json.loads(line.removeprefix("@schema "))
        elif line == "@settings":
            is_settings = True
        elif line.startswith("-- ") or begun:
            begun = True
            words.append(line.removeprefix("-- "))
    if not words:
        raise ValueError(f"{'.'.join(path)}: no comment; write what it is for above it, after `# --`")
    return Entry(path, default, " ".join(words), extra, is_settings)


def schema(found: list[Entry]) -> dict[str, Any]:
    """JSON Schema of the values."""
    document: dict[str, Any] = {"$schema": _DIALECT, "title": "Values of the chart sluicegate"}
    document |= {"type": "object", "additionalProperties": False, "properties": {}}
    document["patternProperties"] = {"^x-": {}}  # anchors that a values file has for itself
    for entry in found:
        above = document
        for name in entry.path[:-1]:
            above = above["properties"][name]
        above["properties"][entry.path[-1]] = _property(entry)
    for path, meant in STRAYED.items():
        above = document
        for name in path[:-1]:
            above = above["properties"][name]
        above["properties"][path[-1]] = {"const": meant}
    # What Helm puts beside a subchart's own values.
    document["properties"]["global"] = {"type": "object"}
    document["definitions"] = settings_schema()["definitions"]
    return document


def _property(entry: Entry) -> dict[str, Any]:
    if entry.is_settings:
        return {"description": entry.text, **settings_schema()["root"]}
    own: dict[str, Any] = {"description": entry.text}
    if entry.default is not None:
        own["type"] = _TYPES[type(entry.default)]
    if entry.is_section:
        own |= {"additionalProperties": False, "properties": {}}
    return own | entry.extra


def settings_schema() -> dict[str, Any]:
    """The settings model's own schema, as a root and its definitions; what the chart owns is refused with its reason."""
    model = json.loads(json.dumps(Settings.model_json_schema()).replace("$defs", "definitions"))
    for section, meant in OWNED.items():
        if isinstance(meant, str):
            model["properties"][section] = {"const": meant}
            continue
        own = model["definitions"][model["properties"][section]["$ref"].rpartition("/")[2]]
        own["properties"] |= {name: {"const": words} for name, words in meant.items()}
    for section, read in READ.items():
        model["definitions"][model["properties"][section]["$ref"].rpartition("/")[2]]["required"] = list(read)
    root = {"type": "object", "additionalProperties": False, "properties": model["properties"]}
    root["required"] = list(READ)
    _plain(root)
    _plain(model["definitions"])
    used: set[str] = set()
    _reach(root, model["definitions"], used)
    return {"root": root, "definitions": {name: model["definitions"][name] for name in sorted(used)}}


def _plain(node: Any) -> None:
    """Take out what says nothing to a reader of values: titles, and defaults, which are in docs/settings.md."""
    if isinstance(node, list):
        for one in node:
            _plain(one)
    if isinstance(node, dict):
        for word in ("title", "default", "format", "writeOnly"):
            if not isinstance(node.get(word), dict):
                node.pop(word, None)
        for one in node.values():
            _plain(one)


def _reach(node: Any, definitions: dict[str, Any], used: set[str]) -> None:
    """Collect the definitions that a part of the schema refers to."""
    if isinstance(node, list):
        for one in node:
            _reach(one, definitions, used)
    if isinstance(node, dict):
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name and name not in used:
            used.add(name)
            _reach(definitions[name], definitions, used)
        for one in node.values():
            _reach(one, definitions, used)


def table(found: list[Entry]) -> str:
    """Every value as a Markdown table."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for entry in found:
        default = "" if entry.is_section else f"`{json.dumps(entry.default)}`"
        meaning = entry.text.replace("|", "\\|")
        rows.append(f"| `{'.'.join(entry.path)}` | {default} | {meaning} |")
    return "\n".join(rows)


def outputs(chart: Path = CHART) -> dict[Path, str]:
    """Every generated file with its content."""
    found = entries((chart / "values.yaml").read_text(encoding="utf-8"))
    readme = (chart / "README.md").read_text(encoding="utf-8")
    begin, end = "<!-- values: generated -->", "<!-- values: end -->"
    before, _, rest = readme.partition(begin)
    after = rest.partition(end)[2]
    return {
        chart / "README.md": f"{before}{begin}\n{table(found)}\n{end}{after}",
        chart / "values.schema.json": json.dumps(schema(found), indent=2) + "\n",
    }


def main() -> None:
    """Write them."""
    for path, content in outputs().items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
