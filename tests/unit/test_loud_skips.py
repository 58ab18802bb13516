"""A test that cannot run says so loudly, and fails where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run_without_java(which: str = "apache_kafka", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one small file of Kafka tests with nothing on PATH."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "REQUIRE_KAFKA")}
    command = [sys.executable, "-m", "pytest", "-q", f"tests/integration/test_{which}.py"]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=kept | {"PATH": "/nowhere"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_java_kafka_tests_are_skipped_with_a_loud_line() -> None:
    done = run_without_java()
    assert done.returncode == 0, done.stdout
    assert "!!! NOT RUN: 2 kafka tests: no `java` on PATH" in done.stdout
    assert "2 skipped" in done.stdout


def test_without_java_kafka_tests_fail_in_continuous_integration() -> None:
    done = run_without_java(CI="true")
    assert done.returncode == 1, done.stdout
    assert "kafka tests are required here, but: no `java` on PATH" in done.stdout


def test_without_java_kafka_tests_fail_when_required() -> None:
    assert run_without_java(REQUIRE_KAFKA="1").returncode == 1


def test_where_maven_cannot_fetch_kafka_tests_are_skipped_with_a_loud_line(tmp_path: Path) -> None:
    for name in ("java", "mvn"):
        (tmp_path / name).write_text("#!/bin/sh\necho no network; exit 1\n")
        (tmp_path / name).chmod(0o755)
    done = run_without_java(
        PATH=f"{tmp_path}:/usr/bin:/bin", SLUICEGATE_CACHE_DIR=str(tmp_path / "cache"), which="decisions"
    )
    assert done.returncode == 0, done.stdout
    assert "!!! NOT RUN: 4 kafka tests: Maven could not fetch Apache Kafka" in done.stdout
    assert list((tmp_path / "cache").iterdir()) == []
