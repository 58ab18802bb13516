"""Profile gpu with trtllm-serve as rendered, on Apache Kafka with SCRAM and TLS: topics and users by Strimzi's objects, the bundle by https.

The sidecar's command is as rendered; the program `trtllm-serve` that it finds is the STAND-IN of ``trtllm_serve``.
In file order: the last test ends the pod.
"""

from __future__ import annotations

import hashlib
import http.server
import ssl
import sys
import tarfile
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rendered.cluster import grant_planned, operate
from rendered.pod import ENGINE, ENGINE_METRICS, Pod
from rendered.release import SHOWN, VERDICTS, helm_tests, names, release, settings_of
from rendered.trtllm_serve import SERIES, SLOW
from rendered.volumes import Surroundings
from sluicegate.engines.bundle.bundle import Bundle
from support.collector import read, send
from support.trtllm_bundle import write_trtllm_bundle
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.kafka_security import SecuredKafka

pytestmark = [pytest.mark.kafka, pytest.mark.helm, pytest.mark.slow]

TESTS = Path(__file__).parents[1]
TOPICS = names("gpu")
VERDICT_TOPICS = [TOPICS[action] for action in VERDICTS]
PASSWORDS = {"sluicegate": "the worker's = own", "sluicegate-test": "of 'helm test'"}
OTHER = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    """A bundle made for TensorRT-LLM, and its archive."""
    made = write_trtllm_bundle(folder / "guard", "engine", tokenizer_folder="hf")
    (folder / "models").mkdir()
    with tarfile.open(folder / "models" / "guard.tar", "w") as archive:
        archive.add(made, arcname="guard-2026-11")
    return Bundle.open(made)


@contextmanager
def serve_https(folder: Path, certificate: Path, key: Path) -> Iterator[str]:
    """A server of files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def surroundings(secured: SecuredKafka, bundle: Bundle, folder: Path) -> Iterator[Surroundings]:
    """The release, its topics and users, a server of models, and images that trust its authority."""
    authority = secured.authority
    (folder / "bin").mkdir()
    program = folder / "bin" / "trtllm-serve"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={TESTS} exec {sys.executable} -m rendered.trtllm_serve "$@"\n')
    program.chmod(0o755)
    with serve_https(folder / "models", *authority.issue("models", "127.0.0.1")) as url:
        values = {
            "kafka": {"bootstrapServers": secured.address("sasl")},
            "topics": {"replication": 1},
            "engine": {
                "uri": f"{url}/guard.tar",
                "sha256": hashlib.sha256((folder / "models" / "guard.tar").read_bytes()).hexdigest(),
                "digest": bundle.digest,
                "kind": "trtllm-serve",
                "metrics": {"enabled": True},
            },
            # The server of the bundle has a private authority's certificate.
            "extraVolumes": [{"name": "authority", "secret": {"secretName": "events-cluster-ca-cert"}}],
            "extraVolumeMounts": [{"name": "authority", "mountPath": "/etc/authority", "readOnly": True}],
            "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/authority/ca.crt"}],
        }
        answer = release("gpu", values | settings_of("gpu"), folder)
        secrets = operate(secured, answer, PASSWORDS["sluicegate"])
        assert secrets.keys() == {"sluicegate"}
        secured.add_user("sluicegate-test", PASSWORDS["sluicegate-test"])
        grant_planned(secured, TOPICS, tests="sluicegate-test")
        secrets["sluicegate-test"] = {"password": PASSWORDS["sluicegate-test"].encode()}
        secrets["events-cluster-ca-cert"] = {"ca.crt": authority.file.read_bytes()}
        yield Surroundings(
            answer,
            secrets,
            programs={"engine": folder / "bin"},
        )


@pytest.fixture(scope="module")
def pod(surroundings: Surroundings, folder: Path) -> Iterator[Pod]:
    template = surroundings.release.of("Deployment")["spec"]["template"]
    with Pod(template, surroundings, folder / "worker") as started:
        started.start()
        yield started


def test_the_worker_starts_after_the_engine_and_is_ready_last(pod: Pod) -> None:
    assert pod.events == [
        "fetch-bundle runs",
        "fetch-bundle ended with 0",
        "plan-engine runs",
        "plan-engine ended with 0",
        "engine runs",
        "engine startup: no",
        "engine startup: yes",
        "engine-metrics runs",
        "engine-metrics startup: yes",
        "worker runs",
        "worker startup: no",
        "worker startup: yes",
        "worker readiness: no",
        "worker readiness: yes",
    ]
    assert pod.containers["worker"].probe("liveness")
    assert pod.containers["engine"].probe("liveness")


def test_the_engine_is_on_the_loopback_interface_alone(pod: Pod) -> None:
    assert pod.containers["worker"].get("/livez", "ops")[0] == 200
    if sys.platform == "linux":
        assert pod.containers["engine"].get("/health", ENGINE) == (0, "")


def test_its_metrics_are_on_the_pods_address_and_nothing_else_of_it(pod: Pod) -> None:
    relay = pod.containers["engine-metrics"]
    assert relay.get("/metrics", "engine-metrics") == (200, SERIES)
    assert relay.get("/health", ENGINE_METRICS)[0] == 404


def test_a_post_comes_back_as_a_verdict_by_the_mounted_policy(
    secured: SecuredKafka, pod: Pod, bundle: Bundle
) -> None:
    send(secured.bootstrap, TOPICS["posts"], [{"id": "first", "text": "A library opens at nine."}])
    until("a verdict", lambda: read(secured.bootstrap, VERDICT_TOPICS), within_s=60)
    (record,) = read(secured.bootstrap, VERDICT_TOPICS)
    assert record.body["post_id"] == "first"
    assert record.body["assessed_by"] == "engine"
    assert record.body["engine"]["digest"] == bundle.digest
    assert record.body["policy"]["name"] == "forum"


@pytest.mark.parametrize("test", SHOWN)
def test_what_helm_test_runs_passes_with_a_login_of_its_own(
    surroundings: Surroundings, pod: Pod, folder: Path, test: str
) -> None:
    document = helm_tests(surroundings.release)[test]
    with Pod(document, surroundings, folder / test) as run:
        code, said = run.complete()
        assert run.containers[test].environment["SLUICEGATE_KAFKA__SECURITY__USERNAME"] == "sluicegate-test"
    assert code == 0, said
    assert SHOWN[test] in said


def test_the_round_trip_notices_an_engine_that_is_not_the_pinned_one(
    surroundings: Surroundings, pod: Pod, folder: Path, bundle: Bundle
) -> None:
    document = helm_tests(surroundings.release)["round-trip"]
    (container,) = document["spec"]["containers"]
    args = [OTHER if word == bundle.digest else word for word in container["args"]]
    changed = {"spec": {**document["spec"], "containers": [{**container, "args": args}]}}
    with Pod(changed, surroundings, folder / "other") as run:
        code, said = run.complete()
    assert code == 1
    assert f"engine {bundle.digest} judged it, engine.digest pins {OTHER}" in said


def test_sigterm_drains_within_the_grace_period_with_the_engine_up_until_the_worker_has_ended(
    secured: SecuredKafka, pod: Pod
) -> None:
    worker = pod.containers["worker"]
    send(secured.bootstrap, TOPICS["posts"], [{"id": "last", "text": f"This is {SLOW}."}])
    until(
        "the post is with the engine",
        lambda: "sluicegate_window_posts 1.0" in worker.get("/metrics", "ops")[1],
        within_s=30,
    )
    pod.end()
    assert pod.events[-5:] == [
        "worker ended with 0",
        "engine-metrics liveness: yes",
        "engine-metrics ended with 0",
        "engine liveness: yes",
        "engine ended with 0",
    ]
    assert pod.left_behind() == []
    (last,) = [one for one in read(secured.bootstrap, VERDICT_TOPICS) if one.body["post_id"] == "last"]
    assert last.body["assessed_by"] == "engine"
    for container in pod.containers.values():
        assert not any(password in container.said for password in PASSWORDS.values())
