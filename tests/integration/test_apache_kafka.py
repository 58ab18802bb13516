"""The harness that the other tests stand on: a broker that can be killed and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.collector import read, send
from support.kafka import ApacheKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_killed_broker_comes_back_with_its_records_and_leaves_nothing_behind() -> None:
    with ApacheKafka() as cluster:
        folder = cluster.folder
        cluster.create_topic("kept", 2)
        send(cluster.bootstrap, "kept", [{"id": str(number)} for number in range(10)])
        cluster.kill()
        cluster.restart()
        assert {record.body["id"] for record in read(cluster.bootstrap, ["kept"])} == set("0123456789")
    assert not folder.exists()
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not any(str(folder).encode() in command for command in running)


def test_a_broker_that_cannot_start_shows_the_end_of_its_log() -> None:
    cluster = ApacheKafka(properties={"log.retention.check.interval.ms": "never"})
    with pytest.raises(RuntimeError, match="never"):
        cluster.__enter__()
    assert not cluster.folder.exists()
