"""Every query that the chart asks a Prometheus: of its dashboard, its alerts and KEDA's trigger."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from chart.rendering import CHART, ROOT, newest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARD = CHART / "dashboards" / "sluicegate.json"
TARGET_LABELS = {"job", "instance"}
"""What Prometheus itself gives every series of a target."""


def dashboard() -> dict[str, Any]:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def panels() -> list[dict[str, Any]]:
    """Those that ask something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def variable_queries() -> list[str]:
    """The choices that the dashboard offers, each as ``label_values(series, label)``."""
    return [one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]


def rules() -> dict[str, dict[str, Any]]:
    """The alerts by name, as Helm renders them: of workers, of a review desk, and of a candidate."""
    groups = [
        group
        for name in ("review", "candidate", "gpu")
        for group in newest(name).of("PrometheusRule")["spec"]["groups"]
    ]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def keda_queries() -> list[str]:
    """What KEDA asks Prometheus for: the age of the oldest post, and the posts taken a second."""
    triggers = newest("gpu").of("ScaledObject")["spec"]["triggers"]
    return [one["metadata"]["query"] for one in triggers if one["type"] == "prometheus"]


def runbook_queries() -> dict[str, list[str]]:
    """By page, the queries that it gives to paste: a line each."""
    return {
        path.stem: [
            line
            for block in re.findall(
                r"^```promql\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
            )
            for line in block.splitlines()
        ]
        for path in sorted(RUNBOOKS.glob("*.md"))
    }


def asked(query: str) -> Iterator[tuple[str, set[str]]]:
    """The series that a query asks for, each with the labels that it is selected or grouped by."""
    grouped = {
        label.strip()
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
        for label in labels.split(",")
    }
    if found := re.search(r"^label_values\(.*,\s*(\w+)\)$", query):
        grouped |= {found[1]}
    for name, matchers in re.findall(r"((?:sluicegate|process)_\w+)(?:\{([^}]*)\})?", query):
        yield name, grouped | set(re.findall(r"(\w+)=", matchers))


def plain(query: str) -> str:
    """A panel's query as Grafana sends it, with everything chosen."""
    return re.sub(r"\$(?:job|tenant)\b", ".*", query).replace("$__rate_interval", "5m")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program is not None
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
