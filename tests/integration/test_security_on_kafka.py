"""TLS, SASL and rights on Apache Kafka: what works with least rights, and the sentence for what does not."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from sluicegate.pipeline.kafka.producer import Placed, Producer
from sluicegate.pipeline.kafka.publisher import Publisher
from sluicegate.pipeline.kafka.reader import Tail, TopicReader
from sluicegate.pipeline.kafka.topics import create_topics, plan_topics
from sluicegate.pipeline.observe.holds import Holds
from sluicegate.pipeline.records import Record
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.schemas import DeadLetter, Origin, ReasonCode, dead_letter_id
from support.authority import Authority
from support.kafka_security import KEY_PASSWORD, PASSWORD, USER, SecuredKafka
from support.workers import Lane, open_lane, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_RIGHTS = {
    one.name.title().replace("_", ""): one for one in AclOperation
}  # as the plan of topics writes them


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with SecuredKafka(tmp_path_factory.mktemp("secured")) as cluster:
        yield cluster


def ways(cluster: SecuredKafka) -> dict[str, dict[str, str]]:
    """The settings of each way in, without their prefix."""
    tls = {"protocol": "SSL", "ca_file": str(cluster.authority.file)}
    login = {"protocol": "SASL_SSL", "ca_file": str(cluster.authority.file), "username": USER}
    return {
        "tls": tls,
        "mutual": tls
        | {
            "certificate_file": str(cluster.client_certificate),
            "key_file": str(cluster.client_key),
            "key_password": KEY_PASSWORD,
        },
        "login": {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", "username": USER, "password": PASSWORD},
        "PLAIN": login | {"mechanism": "PLAIN", "password": PASSWORD},
        "SCRAM-SHA-256": login | {"mechanism": "SCRAM-SHA-256", "password": PASSWORD},
        "SCRAM-SHA-512": login | {"password": PASSWORD},
    }


def settings(cluster: SecuredKafka, way: str, host: str = "127.0.0.1", **changes: str) -> dict[str, str]:
    listener = way if way in ("tls", "mutual", "login") else "sasl"
    security = ways(cluster)[way] | changes
    return {
        "kafka.bootstrap_servers": cluster.address(listener, host),
        **{f"kafka.security.{name}": value for name, value in security.items() if value},
    }


@contextmanager
def lane_with_rights(cluster: SecuredKafka, folder: Path, *, without: str = "") -> Iterator[Lane]:
    """A lane on which the user has what the plan of topics says, but for one right on one resource."""
    with open_lane(cluster, folder, partitions=1) as lane:
        names = {"posts": lane.posts, "control": f"{lane.prefix}.control", **lane.outputs}
        for topic in plan_topics(load_settings(topics=names), partitions=1, replication=1):
            rights = [_RIGHTS[one] for one in topic.worker if f"{one} on {topic.setting}" != without]
            cluster.allow(ResourceType.TOPIC, topic.name, *rights)
        if without != "Read on group":
            cluster.allow(ResourceType.GROUP, lane.group, AclOperation.READ)
        yield lane


@pytest.mark.parametrize("way", ["tls", "mutual", "login", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_worker_judges_with_least_rights_and_tells_no_secret(
    secured: SecuredKafka, tmp_path: Path, way: str
) -> None:
    changes = {}
    if way == "SCRAM-SHA-512":
        (tmp_path / "password").write_text(PASSWORD + "\n")
        changes = {"password": "", "password_file": str(tmp_path / "password")}
    with lane_with_rights(secured, tmp_path) as lane:
        worker = lane.start(settings(secured, way, **changes) | {"log.level": "debug"})
        lane.send([{"id": str(number), "text": "hello"} for number in range(20)])
        worker.wait_ready()
        lane.wait_answers(20, within_s=30)
        lane.wait_acknowledged(within_s=30)
        told = worker.get("/metrics")[1] + worker.get("/readyz")[1]
        worker.terminate()
        assert worker.wait(30) == 0
    assert "sluicegate_" in told
    assert PASSWORD not in told + worker.output
    assert KEY_PASSWORD not in told + worker.output


def test_without_a_right_on_the_control_topic_a_worker_judges_and_says_so(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    with lane_with_rights(secured, tmp_path, without="Read on topics.control") as lane:
        worker = lane.start(settings(secured, "PLAIN"))
        lane.send([{"id": str(number), "text": "hello"} for number in range(5)])
        worker.wait_ready()
        lane.wait_answers(5, within_s=30)
        state = json.loads(worker.get("/readyz")[1])["control"]
        assert state == (
            f"topic {lane.prefix}.control cannot be read (TOPIC_AUTHORIZATION_FAILED); "
            "check that it exists and the rights"
        )
        assert worker.get("/livez")[0] == 200


@pytest.mark.parametrize("way", ["mutual", "PLAIN", "SCRAM-SHA-512"])
def test_every_other_client_takes_the_same_way(secured: SecuredKafka, way: str) -> None:
    prefix = way.lower()
    for name in ("posts", "allow", "review", "block", "dead_letter", "control"):
        secured.allow(ResourceType.TOPIC, f"{prefix}.{name}", AclOperation.ALL)
    loaded = load_settings(
        kafka={
            "bootstrap_servers": settings(secured, way)["kafka.bootstrap_servers"],
            "security": ways(secured)[way],
        },
        topics={
            name: f"{prefix}.{name}"
            for name in ("posts", "allow", "review", "block", "dead_letter", "control")
        },
    )
    created = create_topics(loaded.kafka, plan_topics(loaded, partitions=1, replication=1))
    assert {one.outcome for one in created} == {"created"}
    placed: list[object] = []
    producer = Producer(loaded.kafka, queue_records=10, linger_ms=1)
    assert producer.send(loaded.topics.posts, b"value", b"key", report=placed.append)
    producer.close(10)
    assert placed == [Placed(loaded.topics.posts, 0, 0)]
    with TopicReader(loaded.kafka, [loaded.topics.posts], start="beginning") as reader:
        (record,) = until("the record", lambda: reader.read(1.0), within_s=20)
    assert record.value == b"value"
    tail = Tail(loaded.kafka, [loaded.topics.posts])
    tail.open()
    again = Producer(loaded.kafka, queue_records=10, linger_ms=1)
    again.send(loaded.topics.posts, b"next", b"key", report=placed.append)
    again.close(10)
    read: list[tuple[bytes | None, str | None]] = []

    def next_value() -> bool:
        read.extend((one.value, tail.trouble) for one in tail.read(1.0))
        assert tail.trouble is None
        return bool(read)

    until("the next record", next_value, within_s=20)
    tail.close()
    assert read == [(b"next", None)]


async def test_a_right_to_write_that_is_taken_away_is_a_hold_until_it_is_back(secured: SecuredKafka) -> None:
    topic = "written-later"
    secured.create_topic(topic, 1)
    secured.allow(
        ResourceType.TOPIC, "written-before", AclOperation.WRITE
    )  # else it may be no producer at all
    secured.allow(ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    kafka = load_settings(
        kafka={"bootstrap_servers": secured.address("mutual"), "security": ways(secured)["mutual"]}
    ).kafka
    holds = Holds(asyncio.get_running_loop().time, lambda _name, _holding: None)
    async with Publisher(kafka, holds, flush_s=5) as publisher, asyncio.timeout(60):
        stuck = asyncio.create_task(publisher.publish([dead_record(topic)]))
        while not holds:
            await asyncio.sleep(0.05)
        assert holds.current["publish"].reason == f"topic {topic}: TOPIC_AUTHORIZATION_FAILED"
        secured.allow(ResourceType.TOPIC, topic, AclOperation.WRITE)
        await stuck
    assert not holds


def dead_record(topic: str) -> Record:
    origin = Origin(topic="posts", partition=0, offset=0)
    letter = DeadLetter(
        dead_letter_id=dead_letter_id(origin),
        code=ReasonCode.INVALID_JSON,
        detail="",
        origin=origin,
        payload="",
        payload_bytes=0,
        payload_hash="sha256:" + "0" * 64,
        rejected_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Record(topic, b"key", letter, ())


def both_say(lane: Lane, given: dict[str, str], subject: str) -> tuple[str, dict[str, Any]]:
    """What a worker says that cannot start, and the fault that the check finds of one subject."""
    worker = lane.start(given)
    environment = {
        f"SLUICEGATE_{name.upper().replace('.', '__')}": value
        for name, value in (
            given
            | {
                "kafka.group": lane.group,
                "topics.posts": lane.posts,
                "topics.control": f"{lane.prefix}.control",
                "engine.backend": "fake",
                **{f"topics.{name}": topic for name, topic in lane.outputs.items()},
            }
        ).items()
    }
    checked = subprocess.run(
        [sys.executable, "-m", "sluicegate", "check", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert worker.wait(60) == 1
    assert checked.returncode == 1
    assert PASSWORD not in worker.output + checked.stdout + checked.stderr
    assert KEY_PASSWORD not in worker.output + checked.stdout + checked.stderr
    assert checked.stderr == ""
    assert "Traceback" not in worker.output
    (fault,) = [
        one
        for one in json.loads(checked.stdout)["results"]
        if one["subject"] == subject and one["state"] == "fault"
    ]
    return worker.stderr.read_text().splitlines()[-1], fault


WAY_FAULTS = {
    "a wrong password": (
        "SCRAM-SHA-512",
        {"password": "hunter2"},
        "refused kafka.security.username guard with its password",
        "PASSWORD_FILE=",
    ),
    "the authority of somebody else": (
        "SCRAM-SHA-512",
        {"ca_file": "OTHER"},
        "is from an authority that kafka.security.ca_file",
        "CA_FILE=",
    ),
    "no TLS on a TLS listener": (
        "tls",
        {"protocol": "PLAINTEXT", "ca_file": ""},
        "is a TLS listener, and kafka.security.protocol is PLAINTEXT",
        "PROTOCOL=SSL",
    ),
    "another host name": ("tls", {"host": "localhost"}, "is for another name", "BOOTSTRAP_SERVERS="),
    "no certificate of the client": (
        "mutual",
        {"certificate_file": "", "key_file": "", "key_password": ""},
        "asks for a certificate of the client",
        "CERTIFICATE_FILE=",
    ),
    "a certificate of somebody else": (
        "mutual",
        {"certificate_file": "OTHER", "key_file": "OTHER", "key_password": ""},
        "refused kafka.security.certificate_file",
        "CERTIFICATE_FILE=",
    ),
    "no login where one is asked for": (
        "SCRAM-SHA-512",
        {"protocol": "SSL", "username": "", "password": ""},
        "asks for a login, and kafka.security.protocol is without one",
        "PROTOCOL=SASL_SSL",
    ),
    "neither login nor TLS where a login is asked for": (
        "login",
        {"protocol": "PLAINTEXT", "mechanism": "", "username": "", "password": ""},
        "asks for a login, and kafka.security.protocol is without one",
        "PROTOCOL=SASL_PLAINTEXT",
    ),
    "a login where none is known": (
        "tls",
        {"protocol": "SASL_SSL", "username": USER, "password": PASSWORD},
        "takes no kafka.security.mechanism SCRAM-SHA-512 on this listener",
        "MECHANISM=",
    ),
    "a file that is missing": (
        "tls",
        {"ca_file": "/absent.pem"},
        "kafka.security.ca_file /absent.pem cannot be read",
        "settings show",
    ),
}


@pytest.fixture(scope="module")
def answers(
    secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, dict[str, Any]]]:
    """What is said of each fault; three are tried at a time, for they mostly wait."""

    def answer(fault: str) -> tuple[str, dict[str, Any]]:
        way, changes, *_ = WAY_FAULTS[fault]
        folder = tmp_path_factory.mktemp("fault")
        other = Authority(folder, "other")
        certificate, key = other.issue(USER, "client.example")
        files = {"ca_file": other.file, "certificate_file": certificate, "key_file": key}
        changes = {name: str(files[name]) if value == "OTHER" else value for name, value in changes.items()}
        with closing(Lane(secured.bootstrap, folder)) as lane:  # nobody gets as far as the topics
            return both_say(lane, settings(secured, way, **changes), "broker")

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(WAY_FAULTS, pool.map(answer, WAY_FAULTS), strict=True))


@pytest.mark.parametrize("fault", WAY_FAULTS)
def test_a_way_that_is_closed_is_one_sentence_with_the_fix(
    answers: dict[str, tuple[str, dict[str, Any]]], fault: str
) -> None:
    *_, said, fix = WAY_FAULTS[fault]
    last, found = answers[fault]
    assert said in found["detail"]
    assert fix in found["fix"]
    assert said in last
    assert fix in last or found["detail"].startswith("kafka.security.")  # its fix is in the sentence itself
    assert "hunter2" not in f"{last} {found}"


RIGHT_FAULTS = {
    "Read on topics.posts": ("rights", "this user lacks Read on {posts}", "--operation Read --topic {posts}"),
    "Write on topics.block": (
        "rights",
        "this user lacks Write on {block}",
        "--operation Write --topic {block}",
    ),
    "Read on group": ("group", "this user lacks Read on group {group}", "--operation Read --group {group}"),
}


@pytest.mark.parametrize("right", RIGHT_FAULTS)
def test_a_right_that_is_missing_is_one_sentence_with_the_command_that_grants_it(
    secured: SecuredKafka, tmp_path: Path, right: str
) -> None:
    subject, said, fix = RIGHT_FAULTS[right]
    with lane_with_rights(secured, tmp_path, without=right) as lane:
        last, found = both_say(lane, settings(secured, "SCRAM-SHA-512"), subject)
    names = {"posts": lane.posts, "block": lane.outputs["block"], "group": lane.group}
    assert said.format(**names) in found["detail"]
    assert fix.format(**names) in found["fix"]
    assert said.format(**names) in last
    assert fix.format(**names) in last
