"""The broker of profile demo, by the script that its container runs. The whole pod runs in tests/rendered."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from chart.rendering import CHART, newest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.helm

PATIENCE_S = 60


class Brokers:
    """Brokers, one after the other, with the same two files."""

    def __init__(self, folder: Path) -> None:
        self.given = folder / "given.yaml"
        self.written = folder / "settings.yaml"
        self.given.write_text(newest("demo").of("ConfigMap", "-settings")["data"]["settings.yaml"], "utf-8")
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        script = CHART / "files" / "demo_broker.py"
        process = subprocess.Popen([sys.executable, script, self.given, self.written])
        self.running.append(process)
        return process

    def settings(self, *, other_than: object = None) -> dict[str, Any]:
        """What the next broker writes."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            tree: dict[str, Any] = yaml.safe_load(self.written.read_bytes()) if self.written.exists() else {}
            if tree and tree != other_than:
                return tree
            time.sleep(0.05)
        raise AssertionError("no broker has written its address")


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    some = Brokers(tmp_path)
    yield some
    for process in some.running:
        process.kill()
        process.wait()


def test_the_worker_gets_its_settings_with_the_address_of_a_broker_that_has_the_topics(
    brokers: Brokers,
) -> None:
    first = brokers.start()
    settings = brokers.settings()
    given = yaml.safe_load(brokers.given.read_bytes())
    address = settings["kafka"].pop("bootstrap_servers")
    assert settings == given
    assert set(given["topics"].values()) <= set(
        AdminClient({"bootstrap.servers": address}).list_topics().topics
    )

    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE_S) == 0
    before = yaml.safe_load(brokers.written.read_bytes())
    brokers.start()
    assert brokers.settings(other_than=before)["kafka"]["bootstrap_servers"] != address


def test_a_broker_that_does_not_start_leaves_no_settings_of_one_before(brokers: Brokers) -> None:
    brokers.written.write_text("of a broker that is gone", "utf-8")
    brokers.given.write_text("topics: {posts: 7}", "utf-8")  # no broker starts with that
    assert brokers.start().wait(PATIENCE_S) != 0
    assert not brokers.written.exists()
