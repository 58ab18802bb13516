"""Passwords, certificates and authorities that change while workers run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka.admin import AclOperation, ResourceType

from faults.scenario import scenario
from support.authority import Authority
from support.kafka_security import PASSWORD, USER, SecuredKafka
from support.mounted import MountedSecret

if TYPE_CHECKING:
    from faults.kubelet import Kubelet
    from faults.stage import Stage

_RATE_PER_S = 50.0
_HEALED_S = 60.0
_HEALED_POSTS = 20
_AWAY_S = (6.0, 12.0)  # a refusal is told within this time


@scenario(number=4, name="password-rotated", secured=True)
def password_rotated(stage: Stage) -> None:
    """A password changes at the brokers and in its file, sometimes there first; every worker must log in again each time."""
    kafka = _open(stage)
    folder = stage.lane.folder / "secret"
    secret = MountedSecret(folder, {"password": PASSWORD.encode()})
    kubelet = stage.kubelet(
        2,
        {
            "kafka.bootstrap_servers": kafka.address("sasl"),
            "kafka.security.protocol": "SASL_SSL",
            "kafka.security.ca_file": str(kafka.authority.file),
            "kafka.security.username": USER,
            "kafka.security.password_file": str(folder / "password"),
        },
    )
    kubelet.wait_ready()
    stage.load(_RATE_PER_S)
    rotations = stage.scaled(4)
    try:
        for number in range(rotations):
            time.sleep(stage.rng.uniform(1.0, 4.0))
            password = f"password {number}"
            file_first = number % 2 == 1
            stage.history.note("rotate", number=number, file_first=file_first)
            if file_first:
                secret.change({"password": password.encode()})
                time.sleep(stage.rng.uniform(*_AWAY_S))
            kafka.add_user(USER, password)
            kafka.bounce()
            if not file_first:
                time.sleep(stage.rng.uniform(*_AWAY_S))
                _require_told(stage, kubelet)
                secret.change({"password": password.encode()})
            _require_healed(stage, kubelet)
    finally:
        kafka.add_user(USER, PASSWORD)
    _require_same_processes(stage, kubelet, rotations)


@scenario(number=4, name="certificate-rotated", secured=True)
def certificate_rotated(stage: Stage) -> None:
    """A certificate is renewed, a stranger's is mounted by mistake, and the brokers change to another authority."""
    kafka = _open(stage)
    folder = stage.lane.folder / "secret"
    secret = MountedSecret(folder, _identity(kafka.authority))
    kubelet = stage.kubelet(
        2,
        {
            "kafka.bootstrap_servers": kafka.address("mutual"),
            "kafka.security.protocol": "SSL",
            "kafka.security.ca_file": str(folder / "ca.pem"),
            "kafka.security.certificate_file": str(folder / "client.crt"),
            "kafka.security.key_file": str(folder / "client.key"),
        },
    )
    kubelet.wait_ready()
    stage.load(_RATE_PER_S)
    rotations = stage.scaled(2)
    for number in range(rotations):
        stage.history.note("renewed", number=number)
        secret.change(_identity(kafka.authority))
        time.sleep(stage.rng.uniform(*_AWAY_S))
        _require_healed(stage, kubelet)
        stage.history.note("a stranger's", number=number)
        secret.change(_identity(Authority(stage.lane.folder, f"stranger-{number}")))
        time.sleep(stage.rng.uniform(*_AWAY_S))
        _require_healed(stage, kubelet)  # the one before is still good
        stage.history.note("another authority", number=number)
        kafka.follow(Authority(kafka.authority.file.parent, f"authority-{number}"))
        time.sleep(stage.rng.uniform(*_AWAY_S))
        _require_told(stage, kubelet)
        secret.change(_identity(kafka.authority))
        _require_healed(stage, kubelet)
    _require_same_processes(stage, kubelet, rotations)


def _open(stage: Stage) -> SecuredKafka:
    """The cluster, with the workers' rights on the lane."""
    assert isinstance(stage.kafka, SecuredKafka)
    for topic in stage.lane.topics:
        stage.kafka.allow(ResourceType.TOPIC, topic, AclOperation.ALL)
    stage.kafka.allow(ResourceType.GROUP, stage.lane.group, AclOperation.READ)
    return stage.kafka


def _identity(authority: Authority) -> dict[str, bytes]:
    """The files of a client of this authority."""
    certificate, key = authority.issue(USER, "client.example")
    return {
        "ca.pem": authority.file.read_bytes(),
        "client.crt": certificate.read_bytes(),
        "client.key": key.read_bytes(),
    }


def _require_told(stage: Stage, kubelet: Kubelet) -> None:
    """Demand that every worker is unready because of its login, and alive."""
    for worker in kubelet.workers:
        status, body = worker.get("/readyz")
        told = status == 503 and "login refused: " in body
        stage.require(told, f"/readyz says {status} while the login is refused")
        stage.require(worker.get("/livez")[0] == 200, "/livez fails while the login is refused")


def _require_healed(stage: Stage, kubelet: Kubelet) -> None:
    """Demand that posts are answered by workers that are all ready, without anybody's help."""
    try:
        kubelet.wait_ready(within_s=_HEALED_S)
        stage.lane.wait_answers(stage.lane.answers() + _HEALED_POSTS, within_s=_HEALED_S)
    except AssertionError as error:
        stage.require(condition=False, message=f"not healed: {error}")


def _require_same_processes(stage: Stage, kubelet: Kubelet, rotations: int) -> None:
    stage.note("rotated", rotations=rotations, worker_exits=sum(kubelet.exits.values()))
    stage.require(not kubelet.restarts, f"workers ended: {dict(kubelet.exits)}")
