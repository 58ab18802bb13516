"""What Helm says after an install, which `helm template` does not print: here it is rendered as an object."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from chart.rendering import APIS, CHART, NEWEST, helm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

TEMPLATE = """apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data:
  notes: |
    {{- tpl (.Files.Get "notes.txt") . | nindent 4 }}
"""


def _notes(folder: Path, name: str, *more: str) -> str:
    chart = folder / "sluicegate"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "notes.txt")
    (chart / "templates" / "notes.yaml").write_text(TEMPLATE, encoding="utf-8")
    values = ("-f", str(CHART / "ci" / f"{name}-values.yaml"), "--kube-version", NEWEST)
    done = helm(
        "template", "guard", str(chart), "-n", "moderation", *values, "-s", "templates/notes.yaml", *more
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_demo_says_that_nothing_is_kept(tmp_path: Path) -> None:
    said = _notes(tmp_path, "demo")
    assert "Nothing is kept: posts and verdicts are gone" in said
    assert "-- python /etc/sluicegate/scripts/round_trip.py 60" in said
    assert "helm -n" not in said  # it has no test pods


def test_others_are_proved_by_helm_test(tmp_path: Path) -> None:
    said = _notes(tmp_path, "cpu")
    assert "helm -n moderation test guard --logs" in said
    assert "Nothing is kept" not in said


def test_an_hpa_without_its_metric_is_named(tmp_path: Path) -> None:
    assert "until an adapter serves kafka_consumergroup_lag" in _notes(tmp_path, "hpa")


def test_an_hpa_with_its_metric_is_not(tmp_path: Path) -> None:
    served = ("--api-versions", "external.metrics.k8s.io/v1beta1")
    assert "adapter" not in _notes(tmp_path, "hpa", *served)


def test_alerts_without_links_say_where_their_pages_are(tmp_path: Path) -> None:
    served = ("--api-versions", "monitoring.coreos.com/v1")
    on = ("--set", "podMonitor.enabled=true,prometheusRule.enabled=true")
    assert "publish docs/runbooks and set prometheusRule.runbooks" in _notes(tmp_path, "cpu", *served, *on)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("oci", "in-process, in image sluicegate-gpu:0.1.0."),
        ("oci", "That image is yours, by Dockerfile.gpu"),
        ("vllm", "`plan-engine` refuses a bundle with a compiled engine"),
        ("trtllm-serve", "Its scores are of the 20 likeliest tokens; in process they are exact."),
    ],
)
def test_a_gpu_is_told_which_engine_it_has_and_that_none_was_run(
    name: str, said: str, tmp_path: Path
) -> None:
    served = [word for api in APIS for word in ("--api-versions", api)]
    notes = _notes(tmp_path, name, *served)
    assert said in notes
    assert "This project has run none of it on a GPU." in notes
    assert "nobody scrapes" not in notes


def test_metrics_of_a_server_that_nobody_scrapes_are_named(tmp_path: Path) -> None:
    said = _notes(tmp_path, "vllm", "--set", "podMonitor.enabled=false")
    assert "Its metrics are on port 8001, and nobody scrapes them" in said
