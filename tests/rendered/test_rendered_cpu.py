"""Profile cpu as rendered, on Apache Kafka with SCRAM and TLS: topics Job, pod, `helm test`, and its end.

In file order: the last test ends the pod.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rendered.cluster import grant, grant_planned
from rendered.pod import Pod
from rendered.release import SHOWN, VERDICTS, helm_tests, names, release, settings_of
from rendered.volumes import Surroundings
from sluicegate.engines.bundle.bundle import Bundle
from support.collector import account, committed, ends, read, send
from support.kafka_security import PASSWORD, USER
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.kafka_security import SecuredKafka

pytestmark = [pytest.mark.kafka, pytest.mark.helm, pytest.mark.cpu_model, pytest.mark.slow]

TOPICS = names("cpu")
VERDICT_TOPICS = [TOPICS[action] for action in VERDICTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpu")


@pytest.fixture(scope="module")
def surroundings(secured: SecuredKafka, folder: Path, cpu_bundle: Path) -> Surroundings:
    """The release, a user with rights of its own for each who logs in, and the model on the node already."""
    values: dict[str, Any] = {
        "kafka": {
            "bootstrapServers": secured.address("sasl"),
            "security": {
                "protocol": "SASL_SSL",
                "ca": {"existingSecret": "kafka-ca", "key": "ca.pem"},
                "sasl": {"existingSecret": "login", "usernameKey": "name", "passwordKey": "word"},
            },
        },
        "topics": {"security": {"sasl": {"existingSecret": "login-topics"}}},
        "tests": {"security": {"sasl": {"existingSecret": "login-tests"}}},
    }
    answer = release("cpu", values | settings_of("cpu"), folder)
    users = {"login": USER, "login-topics": "cpu-topics", "login-tests": "cpu-tests"}
    for user in ("cpu-topics", "cpu-tests"):
        secured.add_user(user, PASSWORD)
    grant_planned(secured, TOPICS, tests="cpu-tests", worker=USER, creator="cpu-topics")
    grant(secured, USER, "group", "cpu", ["Read"])
    (folder / "node").mkdir()
    (folder / "node" / "guard").symlink_to(cpu_bundle)
    secrets = {name: {"name": user.encode(), "word": PASSWORD.encode()} for name, user in users.items()}
    secrets["kafka-ca"] = {"ca.pem": secured.authority.file.read_bytes()}
    return Surroundings(answer, secrets, {"bundle": folder / "node"})


@pytest.fixture(scope="module")
def created(surroundings: Surroundings, folder: Path) -> list[tuple[int, str]]:
    """What the topics Job said, as Helm runs it before an install and before an upgrade."""
    template = surroundings.release.of("Job", "-topics")["spec"]["template"]
    said = []
    for attempt in ("install", "upgrade"):
        with Pod(template, surroundings, folder / attempt) as job:
            said.append(job.complete())
    return said


@pytest.fixture(scope="module")
def pod(surroundings: Surroundings, created: list[tuple[int, str]], folder: Path) -> Iterator[Pod]:
    template = surroundings.release.of("Deployment")["spec"]["template"]
    with Pod(template, surroundings, folder / "worker") as started:
        started.start()
        yield started


def test_the_topics_job_makes_what_is_missing_and_nothing_twice(
    secured: SecuredKafka, created: list[tuple[int, str]]
) -> None:
    install, upgrade = created
    assert [install[0], upgrade[0]] == [0, 0], created
    assert install[1].count(": created, partitions") == len(TOPICS)
    assert upgrade[1].count(": already there, partitions") == len(TOPICS)
    wide = {"posts", *VERDICTS}
    assert {role: len(ends(secured.bootstrap, topic)) for role, topic in TOPICS.items()} == {
        role: 3 if role in wide else 1 for role in TOPICS
    }


def test_containers_start_and_probes_turn_green_in_the_charts_order(pod: Pod) -> None:
    assert pod.events == [
        "fetch-bundle runs",
        "fetch-bundle ended with 0",
        "worker runs",
        "worker startup: no",
        "worker startup: yes",
        "worker readiness: no",
        "worker readiness: yes",
    ]
    assert "already there" in pod.containers["fetch-bundle"].said
    worker = pod.containers["worker"]
    assert worker.probe("liveness")
    assert json.loads(worker.get("/readyz", "ops")[1])["engine"] is True


def test_a_post_comes_back_as_a_verdict_of_the_mounted_model(
    secured: SecuredKafka, pod: Pod, cpu_bundle: Path
) -> None:
    send(secured.bootstrap, TOPICS["posts"], [{"id": "first", "text": "A library opens at nine."}])
    until("a verdict", lambda: read(secured.bootstrap, VERDICT_TOPICS), within_s=60)
    (record,) = read(secured.bootstrap, VERDICT_TOPICS)
    assert record.body["post_id"] == "first"
    assert record.body["assessed_by"] == "engine"
    assert record.body["engine"]["digest"] == Bundle.open(cpu_bundle, verify=False).digest


@pytest.mark.parametrize("test", SHOWN)
def test_what_helm_test_runs_passes(surroundings: Surroundings, pod: Pod, folder: Path, test: str) -> None:
    document = helm_tests(surroundings.release)[test]
    with Pod(document, surroundings, folder / test) as run:
        code, said = run.complete()
    assert code == 0, said
    assert SHOWN[test] in said
    assert PASSWORD not in said


def test_sigterm_drains_within_the_grace_period_and_loses_nothing(secured: SecuredKafka, pod: Pod) -> None:
    before = len(read(secured.bootstrap, VERDICT_TOPICS))
    sent = send(
        secured.bootstrap,
        TOPICS["posts"],
        ({"id": f"last-{number}", "text": f"Bus number {number} leaves at noon."} for number in range(24)),
    )

    def answers() -> int:
        return len(read(secured.bootstrap, VERDICT_TOPICS)) - before

    until("the first verdict", answers, within_s=60)
    assert answers() < len(sent), "the worker was not stopped in the middle"
    pod.end()
    assert pod.events[-1] == "worker ended with 0"
    assert pod.left_behind() == []
    done = committed(secured.bootstrap, "cpu", TOPICS["posts"])
    found = account(sent, read(secured.bootstrap, [*VERDICT_TOPICS, TOPICS["dead_letter"]]))
    assert [one for one in found.lost if one.offset < done[one.partition]] == []
    assert found.two_actions == ()
    assert PASSWORD not in pod.containers["worker"].said
