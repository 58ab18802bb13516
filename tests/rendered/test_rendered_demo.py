"""Profile demo as rendered: the broker in the pod, so that nothing is asked of outside. Its own, not Apache Kafka.

In file order: the last test ends the pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chart.rendering import newest
from rendered.pod import Pod
from rendered.volumes import Surroundings
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.helm, pytest.mark.cpu_model, pytest.mark.slow]

ROUND_TRIP = ["python", "/etc/sluicegate/scripts/round_trip.py", "60", ""]
"""As the notes of an installation have it."""


@pytest.fixture(scope="module")
def pod(cpu_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "node").mkdir()
    (folder / "node" / "guard").symlink_to(cpu_bundle)
    surroundings = Surroundings(newest("demo"), folders={"bundle": folder / "node"})
    template = newest("demo").of("Deployment")["spec"]["template"]
    with Pod(template, surroundings, folder / "worker") as started:
        started.start()
        yield started


def test_the_worker_starts_after_the_broker_and_is_ready_last(pod: Pod) -> None:
    assert [event for event in pod.events if not event.endswith(": no")] == [
        "fetch-bundle runs",
        "fetch-bundle ended with 0",
        "broker runs",
        "broker startup: yes",
        "worker runs",
        "worker startup: yes",
        "worker readiness: yes",
    ]
    assert pod.containers["worker"].probe("liveness")


def test_the_round_trip_of_the_notes_passes(pod: Pod) -> None:
    code, said = pod.containers["worker"].execute(ROUND_TRIP, within_s=120)
    assert code == 0, said
    assert '"post_id": "helm-test/' in said


def test_the_broker_is_up_until_the_worker_has_ended(pod: Pod) -> None:
    pod.end()
    assert pod.events[-3:] == ["worker ended with 0", "broker liveness: yes", "broker ended with 0"]
    assert pod.left_behind() == []


def test_a_worker_is_not_alive_with_another_broker_than_the_one_it_started_with(pod: Pod) -> None:
    broker, worker = pod.containers["broker"], pod.containers["worker"]
    assert worker.probe("liveness")
    broker.start()
    until("the next broker has written where it listens", lambda: "listens on" in broker.said, within_s=60)
    assert not worker.probe("liveness")
