"""What `helm test` runs, run: its pods' commands against a worker with the rendered settings.

The brokers are librdkafka's mock cluster and the engine is the fake one; everything else is as rendered.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from chart.rendering import CHART, newest, render
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.trial.local import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from chart.rendering import Answer, Document

pytestmark = pytest.mark.helm

MOUNTED = "/etc/sluicegate/scripts"
FAULTS = "faults.json"
"""Where the fake engine of the worker is told to fail."""


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Path]:
    """The rendered settings on brokers of the test's own, with a worker that runs by them."""
    tree = yaml.safe_load(newest("cpu").of("ConfigMap", "-settings")["data"]["settings.yaml"])
    file = tmp_path / "settings.yaml"
    async with EmbeddedBroker(tuple(tree["topics"].values())) as broker:
        tree["kafka"]["bootstrap_servers"] = broker.address
        (tmp_path / "fake.json").write_text(
            json.dumps({"faults_file": str(tmp_path / FAULTS)}), encoding="utf-8"
        )
        tree["engine"] = {"backend": "fake", "fake_profile": str(tmp_path / "fake.json")}
        tree["ops"] = {"host": "127.0.0.1", "port": 0}
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        async with WorkerProcess({"settings": str(file)}, tmp_path / "worker.log") as worker:
            await worker.ready()
            yield file


async def run(pod: Document, settings: Path, folder: Path) -> tuple[int | None, str]:
    """Run a pod's only container here, with its own words but for the places of files."""
    (container,) = pod["spec"]["containers"]
    words = [word.replace(MOUNTED, str(folder)) for word in [*container["command"], *container["args"]]]
    variables = {one["name"]: one["value"] for one in container["env"]} | {
        "SLUICEGATE_SETTINGS": str(settings)
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *words,
        env=variables | {"PATH": path, "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def _lay_out(scripts: Answer, folder: Path) -> None:
    for name, script in scripts.of("ConfigMap", "-scripts")["data"].items():
        (folder / name).write_text(script, encoding="utf-8")


async def test_what_helm_test_runs_passes_on_a_worker_that_works(settings: Path, tmp_path: Path) -> None:
    _lay_out(newest("cpu"), tmp_path)
    trip, said = await run(newest("cpu").of("Pod", "-round-trip"), settings, tmp_path)
    assert trip == 0, said
    assert '"post_id": "helm-test/' in said
    assert '"tenant": "helm-test"' in said
    assert '"assessed_by": "engine"' in said
    dead, said = await run(newest("cpu").of("Pod", "-dead-letter"), settings, tmp_path)
    assert dead == 0, said
    assert "1 sent to posts" in said
    assert "invalid_post" in said


async def test_an_engine_that_went_away_fails_helm_test_though_the_worker_is_up(
    settings: Path, tmp_path: Path
) -> None:
    soon = ("--set", "tests.timeoutSeconds=5")
    answer = render("-f", str(CHART / "ci" / "cpu-values.yaml"), *soon)
    _lay_out(answer, tmp_path)
    pod = answer.of("Pod", "-round-trip")
    trip, said = await run(pod, settings, tmp_path)
    assert trip == 0, said  # the cache has had a text of this test since
    (tmp_path / FAULTS).write_text(json.dumps({"die": True}), encoding="utf-8")
    trip, said = await run(pod, settings, tmp_path)
    assert (trip, said.strip()) == (
        1,
        "no verdict within 5 s; are workers running, and is a hold named in /readyz?",
    )
    (tmp_path / FAULTS).unlink()
    trip, said = await run(answer.of("Pod", "-round-trip"), settings, tmp_path)
    assert trip == 0, said
