"""Passwords, certificates and authorities that change under running clients, on Apache Kafka."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AclOperation, ResourceType

from sluicegate.pipeline.kafka.member import Member
from sluicegate.pipeline.kafka.onlooker import diverged
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import Tail
from sluicegate.pipeline.settings.tree import KafkaSettings, load_settings
from support.authority import Authority
from support.collector import committed, send
from support.kafka_security import KEY_PASSWORD, PASSWORD, USER, SecuredKafka
from support.mounted import MountedSecret
from support.tokens import FAULT
from support.workers import Lane, open_lane, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.workers import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEEN_S = 60.0
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with SecuredKafka(tmp_path_factory.mktemp("secured")) as cluster:
        yield cluster


@contextmanager
def open_secured_lane(cluster: SecuredKafka, folder: Path) -> Iterator[Lane]:
    with open_lane(cluster, folder, partitions=2) as lane:
        for topic in lane.topics:
            cluster.allow(ResourceType.TOPIC, topic, AclOperation.ALL)
        cluster.allow(ResourceType.GROUP, lane.group, AclOperation.READ)
        yield lane


def settings(cluster: SecuredKafka, way: str, **security: object) -> dict[str, str]:
    return {
        "kafka.bootstrap_servers": cluster.address(way),
        **{f"kafka.security.{name}": str(value) for name, value in security.items()},
    }


def identity(authority: Authority) -> dict[str, bytes]:
    """The files of a client of this authority."""
    certificate, key = authority.issue(USER, "client.example", key_password=KEY_PASSWORD)
    return {
        "ca.pem": authority.file.read_bytes(),
        "client.crt": certificate.read_bytes(),
        "client.key": key.read_bytes(),
    }


def mutual(cluster: SecuredKafka, folder: Path) -> dict[str, str]:
    files = {"ca_file": "ca.pem", "certificate_file": "client.crt", "key_file": "client.key"}
    given = {name: folder / file for name, file in files.items()}
    return settings(cluster, "mutual", protocol="SSL", key_password=KEY_PASSWORD, **given)


def judge(lane: Lane, first: int, behind: int) -> None:
    """Send posts, and wait until all that were ever sent are answered and acknowledged."""
    lane.send([{"id": str(number), "text": f"hello {number}"} for number in range(first, behind)])
    lane.wait_answers(behind, within_s=SEEN_S)
    lane.wait_acknowledged(within_s=SEEN_S)


def wait_refused(worker: WorkerProcess) -> str:
    """Wait until a worker says that its login is refused; the reason."""

    def reason() -> str | None:
        status, body = worker.get("/readyz")
        hold = json.loads(body or "{}").get("holds", {}).get("login")
        return hold["reason"] if hold is not None and status == 503 else None

    said: str = until("a refused login", reason, within_s=SEEN_S)
    assert worker.get("/livez")[0] == 200
    assert worker.metric("sluicegate_hold") >= 1
    return said


def test_a_worker_goes_on_with_the_new_password_as_soon_as_its_file_has_it(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    secret = MountedSecret(tmp_path / "secret", {"password": PASSWORD.encode()})
    way = {"protocol": "SASL_SSL", "ca_file": secured.authority.file, "username": USER}
    with open_secured_lane(secured, tmp_path) as lane:
        worker = lane.start(settings(secured, "sasl", password_file=tmp_path / "secret/password", **way))
        worker.wait_ready()
        judge(lane, 0, 20)
        secured.add_user(USER, "the next one")
        secured.bounce()
        said = wait_refused(worker)
        lane.send([{"id": f"meanwhile-{number}", "text": "hello"} for number in range(5)])
        secret.change({"password": b"the next one"})
        until("ready again", worker.ready, within_s=SEEN_S)
        lane.wait_answers(25, within_s=SEEN_S)
        lane.wait_acknowledged(within_s=SEEN_S)
        assert lane.answers() == 25
    secured.add_user(USER, PASSWORD)
    assert said.startswith("login refused: the broker at ")
    assert "refused kafka.security.username guard with its password" in said
    assert worker.output.count('"hold_declared", "hold": "login"') <= 1
    assert "the next one" not in worker.output


def test_a_worker_goes_on_with_the_new_certificate_and_authority(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    secret = MountedSecret(tmp_path / "secret", identity(secured.authority))
    following = Authority(tmp_path, "following")
    with open_secured_lane(secured, tmp_path) as lane:
        worker = lane.start(mutual(secured, tmp_path / "secret"))
        worker.wait_ready()
        judge(lane, 0, 20)
        secured.follow(following)
        said = wait_refused(worker)
        lane.send([{"id": f"meanwhile-{number}", "text": "hello"} for number in range(5)])
        secret.change(identity(following))
        until("ready again", worker.ready, within_s=SEEN_S)
        lane.wait_answers(25, within_s=SEEN_S)
        lane.wait_acknowledged(within_s=SEEN_S)
        assert lane.answers() == 25
    assert said.startswith("login refused: the certificate of ")


def test_a_certificate_is_taken_up_without_a_repeat_and_one_that_is_refused_is_not(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    secret = MountedSecret(tmp_path / "secret", identity(secured.authority))
    with open_secured_lane(secured, tmp_path) as lane:
        worker = lane.start(mutual(secured, tmp_path / "secret"))
        worker.wait_ready()
        judge(lane, 0, 20)
        strangers = identity(Authority(tmp_path, "strangers"))
        secret.change(strangers | {"ca.pem": secured.authority.file.read_bytes()})
        until(
            "the stranger is told",
            lambda: "the files before are used" in worker.output,
            within_s=SEEN_S,
        )
        judge(lane, 20, 40)
        assert worker.ready()
        rebalances = worker.metric("sluicegate_rebalances_total")
        secret.change(identity(secured.authority))
        until(
            "a member with the new certificate",
            lambda: worker.metric("sluicegate_rebalances_total") > rebalances,
            within_s=SEEN_S,
        )
        judge(lane, 40, 60)
        assert lane.answers() == 60


def by_token(cluster: SecuredKafka) -> dict[str, str]:
    way = {"protocol": "SASL_PLAINTEXT", "mechanism": "OAUTHBEARER", "oauth_callback": "support.tokens:token"}
    return settings(cluster, "token", **way)


def test_a_worker_logs_in_with_tokens_and_with_the_next_one_after_a_restart_of_the_brokers(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    with open_secured_lane(secured, tmp_path) as lane:
        worker = lane.start(by_token(secured), {"PYTHONPATH": str(TESTS)})
        worker.wait_ready()
        judge(lane, 0, 20)
        secured.bounce()
        judge(lane, 20, 40)
        until("ready", worker.ready, within_s=SEEN_S)
        assert worker.running


def test_a_callback_that_gives_no_token_is_named_and_what_it_says_is_not(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    with open_secured_lane(secured, tmp_path) as lane:
        worker = lane.start(by_token(secured), {"PYTHONPATH": str(TESTS), FAULT: "the secret itself"})
        assert worker.wait(SEEN_S) == 1
    last = worker.stderr.read_text().splitlines()[-1]
    assert "kafka.security.oauth_callback support.tokens:token gave no token (ValueError)" in last
    assert "the secret itself" not in worker.output


@pytest.mark.parametrize("way", ["password", "certificate"])
def test_every_other_client_goes_on_with_what_is_new(secured: SecuredKafka, tmp_path: Path, way: str) -> None:
    topic = f"new-{way}"
    secured.create_topic(topic, 1)
    secured.allow(ResourceType.TOPIC, topic, AclOperation.ALL)
    secured.allow(ResourceType.GROUP, topic, AclOperation.READ)
    secret = MountedSecret(tmp_path / "secret", identity(secured.authority) | {"password": PASSWORD.encode()})
    given = mutual(secured, tmp_path / "secret")
    if way == "password":
        login = {"username": USER, "password_file": tmp_path / "secret/password"}
        given = settings(secured, "sasl", protocol="SASL_SSL", ca_file=secured.authority.file, **login)
    kafka = KafkaSettings.model_validate(
        {
            "bootstrap_servers": given.pop("kafka.bootstrap_servers"),
            "security": {name.removeprefix("kafka.security."): value for name, value in given.items()},
        }
    )
    following = Authority(tmp_path, "following")
    placed: list[Placed | Refused] = []
    read: list[bytes | None] = []
    taken: list[bytes | None] = []
    producer = Producer(kafka, linger_ms=1, polls=True)
    with Tail(kafka, [topic]) as tail, Member(kafka, [topic], topic, start="beginning") as member:

        def all_have(value: bytes) -> bool:
            read.extend(one.value for one in tail.read(0.1))
            record = member.take(0.1)
            if record is not None:
                taken.append(record.value)
                member.done(record)
            return value in read and value in taken

        producer.send(topic, b"before", report=placed.append)
        until("the first record", lambda: all_have(b"before"), within_s=SEEN_S)
        if way == "password":
            secured.add_user(USER, "the next one")
            secured.bounce()
        else:
            secured.follow(following)
        producer.send(topic, b"after", report=placed.append)
        secret.change(identity(following) | {"password": b"the next one"})
        until("the next record", lambda: all_have(b"after"), within_s=SEEN_S)
    assert producer.close(10) == 0
    secured.add_user(USER, PASSWORD)
    assert placed == [Placed(topic, 0, 0), Placed(topic, 0, 1)]
    assert read == [b"before", b"after"]


def test_to_ask_where_a_log_was_cut_commits_nothing(secured: SecuredKafka) -> None:
    secured.create_topic("asked", 1)
    send(secured.bootstrap, "asked", [{"id": "1", "text": "one"}, {"id": "2", "text": "two"}])
    kafka = load_settings(kafka={"bootstrap_servers": secured.bootstrap}).kafka
    assert diverged(kafka, [TopicPartition("asked", 0, 1, leader_epoch=0)], within_s=20) == set()
    assert committed(secured.bootstrap, "sluicegate-reader", "asked") == {0: 0}
