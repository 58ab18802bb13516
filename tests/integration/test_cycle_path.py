"""A small cycle with real commands, from decisions to a candidate's files: killed while it trains, and gone on with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from sluicegate.engines.adapt.cycle.cycle import CycleOutcome
from sluicegate.pipeline.command import app
from sluicegate.schemas import Feedback, Post, Verdict, encode
from support.workers import until

pytestmark = [
    pytest.mark.adapt,
    pytest.mark.cpu_model,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]

OWN = Path(__file__).parents[2] / "examples" / "adapt" / "rows"
RECIPE = """
base: {bundle: cpu}
lora: {preset: small}
data: {planned_rows: 32, max_tokens: 64}
optimiser: {learning_rate: 2.0e-3, batch_rows: 8}
dev: {rows: 8, every_rows: 32}
"""
LENIENT = """
overall: {minimum_rows: 1, macro_f1_drop: 1.0, harmful_recall_drop: 1.0, benign_false_positives_rise: 1.0, benign_blocked_rise: 1.0}
language: {minimum_rows: 1000}
category: {minimum_rows: 1000}
kind: {minimum_rows: 1000}
source: {minimum_rows: 1000}
always: {well_formed_least: null, newly_failed_most: 1.0}
"""
PLAN = """
name: weekly
core: [core]
recipe: recipe.yaml
limits: limits.yaml
sample: 60
worst_slice: 1.0
trigger: {least_new: 20}
"""
WORDS = (
    "barn",
    "kettle",
    "ladder",
    "river",
    "lemon",
    "bridge",
    "violin",
    "pepper",
    "anchor",
    "window",
    "garden",
)


def decisions() -> list[bytes]:
    draw = random.Random(3)
    found = []
    for number in range(40):
        text = f"{' '.join(draw.sample(WORDS, 6))} {draw.randrange(10**9)}"
        post = Post(
            id=f"p{number}", tenant="forum", author_id=f"a{number}", text=text, kind="post", language="en"
        )
        unsafe = number % 2 == 1
        found.append(
            encode(
                Feedback(
                    schema_version="1.2",
                    verdict_id=f"v{number}",
                    post=post,
                    severity="unsafe" if unsafe else "safe",
                    categories=("Violent",) if unsafe else (),
                    blind=True,
                    reviewed_at=datetime(2026, 11, 2, tzinfo=UTC) + timedelta(hours=number),
                    reviewer="r1",
                    found="safe",
                )
            )
        )
    return found


def test_decisions_become_a_candidate_though_the_training_was_killed(
    tmp_path: Path, cpu_base_bundle: Path, cpu_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("core").symlink_to(OWN)  # a calibration wants fifty held-out rows
    for name, content in (("recipe", RECIPE), ("limits", LENIENT), ("cycle", PLAN)):
        Path(f"{name}.yaml").write_text(content)
    Path("decided.jsonl").write_bytes(b"\n".join(decisions()) + b"\n")
    command = [
        sys.executable,
        "-m",
        "sluicegate",
        "adapt",
        "cycle",
        "cycle.yaml",
        "--feedback",
        "decided.jsonl",
    ]
    with Path("first.log").open("wb") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    until(
        "it trains",
        lambda: b" train\n" in Path("first.log").read_bytes() or first.poll() is not None,
        within_s=300,
    )
    assert first.poll() is None, Path("first.log").read_text()
    os.killpg(first.pid, signal.SIGKILL)  # its training, too
    first.wait(30)

    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "goes on" in again.stdout
    (path,) = Path("cycle").glob("runs/*/result.json")
    outcome = CycleOutcome.model_validate_json(path.read_bytes())
    assert (outcome.passed, outcome.leaks) == (True, 0)
    assert not (path.parent / "work").exists()

    written = yaml.safe_load((path.parent / "candidate" / "settings.yaml").read_text())
    experiment = written["candidate"]["experiment"]
    assert written["engine"]["adapters"][experiment]["digest"] == outcome.digest
    Path("settings.yaml").write_text(f"engine: {{backend: llama_cpp, bundle: {outcome.bundle}, slots: 1}}\n")
    judged = CliRunner().invoke(app, ["judge", "a new post", "--settings", "settings.yaml", "--json"])
    assert judged.exit_code == 0, judged.output
    verdict = Verdict.model_validate_json(judged.stdout)
    assert verdict.engine.digest == outcome.digest
    Path("verdict.json").write_text(judged.stdout)
    traced = CliRunner().invoke(app, ["trace", "verdict.json", "--json"])
    assert len(orjson.loads(traced.stdout)["rows"]) == outcome.rows
    erased = CliRunner().invoke(app, ["data", "erase", "--tenant", "forum", "--author", "a1"])
    (bundle,) = orjson.loads(erased.stdout)["certificate"]["bundles_trained_on_them"]
    assert bundle["bundle"] == outcome.digest
