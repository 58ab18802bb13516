"""What a handshake with a broker tells; the faults that only a broker can show are in the integration tests."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from sluicegate.pipeline.kafka.unreachable import (
    Cause,
    UnreachableError,
    _handshake_cause,
    _places,
    ask_metadata,
    why_unreachable,
)
from sluicegate.pipeline.settings.tree import KafkaSettings, SecuritySettings
from support.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGIN = {"username": "guard", "password": "p"}


@contextlib.contextmanager
def listener(context: ssl.SSLContext | None) -> Iterator[int]:
    """Takes one connection after the other: with TLS, or as a server that hangs up on what it does not know."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = server.accept()
                    with contextlib.suppress(OSError), taken:
                        if context is None:
                            taken.recv(1)
                        else:
                            context.wrap_socket(taken, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextlib.contextmanager
def kafka_listener(code: int, *mechanisms: bytes) -> Iterator[int]:
    """Speaks Kafka as far as SaslHandshake, which it answers so; at anything else it hangs up."""
    names = b"".join(struct.pack(">h", len(one)) + one for one in mechanisms)
    body = struct.pack(">hi", code, len(mechanisms)) + names

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (size,) = struct.unpack(">i", self.rfile.read(4))
            if size > 100 or (asked := self.rfile.read(size))[:4] != struct.pack(">hh", 17, 1):
                return
            answer = struct.pack(">i", 4 + len(body)) + asked[4:8] + body
            for at in range(len(answer)):  # a slow one
                self.wfile.write(answer[at : at + 1])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def served(authority: Authority, host: str = "127.0.0.1", **more: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("broker", host, **more))
    return context


def cause(context: ssl.SSLContext | None, **security: Any) -> Cause | None:
    with listener(context) as port:
        return _handshake_cause(SecuritySettings(**security), "127.0.0.1", port)


def test_a_certificate_for_another_name_is_told(authority: Authority) -> None:
    found = cause(served(authority, "elsewhere.example"), protocol="SSL", ca_file=authority.file)
    assert found is not None
    assert "is for another name" in found.detail
    assert "SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS" in found.fix


def test_an_issuer_that_is_not_trusted_is_told_with_the_file_that_lacks_it(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    found = cause(served(authority), protocol="SSL", ca_file=other.file)
    assert found is not None
    assert f"kafka.security.ca_file {other.file} does not hold" in found.detail
    assert "SLUICEGATE_KAFKA__SECURITY__CA_FILE" in found.fix


def test_a_certificate_that_has_run_out_is_told(authority: Authority) -> None:
    context = served(authority, not_after=datetime(2020, 1, 1, tzinfo=UTC))
    found = cause(context, protocol="SSL", ca_file=authority.file)
    assert found is not None
    assert "out of date (certificate has expired)" in found.detail


def test_a_listener_without_tls_is_told_from_one_with_it(authority: Authority) -> None:
    plain = cause(None, protocol="SSL", ca_file=authority.file)
    assert plain is not None
    assert "does not answer a TLS handshake" in plain.detail
    encrypted = cause(served(authority))
    assert encrypted is not None
    assert "is a TLS listener, and kafka.security.protocol is PLAINTEXT" in encrypted.detail
    assert encrypted.fix.startswith("export SLUICEGATE_KAFKA__SECURITY__PROTOCOL=SSL ")
    login = cause(served(authority), protocol="SASL_PLAINTEXT", **LOGIN)
    assert login is not None
    assert login.fix.startswith("export SLUICEGATE_KAFKA__SECURITY__PROTOCOL=SASL_SSL ")


def test_a_listener_of_the_kind_that_was_asked_for_is_no_cause(authority: Authority) -> None:
    assert cause(None) is None
    assert cause(served(authority), protocol="SASL_SSL", ca_file=authority.file, **LOGIN) is None


@pytest.mark.parametrize(
    ("servers", "places"),
    [
        ("a:1, b:2", [("a", 1), ("b", 2)]),
        ("[::1]:9092", [("::1", 9092)]),
        ("a", []),
    ],
)
def test_what_is_no_address_is_not_shaken_hands_with(servers: str, places: list[tuple[str, int]]) -> None:
    assert list(_places(servers)) == places


def test_nobody_at_all_may_come_yet() -> None:
    found = why_unreachable(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "_TRANSPORT")
    assert not found.lasting
    assert found.refused
    assert "127.0.0.1:9 cannot be reached: nothing listens there (connection refused)" in found.detail


def test_a_listener_that_asks_for_a_login_is_told_to_a_client_without_one() -> None:
    with kafka_listener(33, b"PLAIN", b"SCRAM-SHA-512") as port:
        found = why_unreachable(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), "_TRANSPORT")
    assert found.detail == (f"127.0.0.1:{port} asks for a login, and kafka.security.protocol is without one")
    assert found.fix.startswith("export SLUICEGATE_KAFKA__SECURITY__PROTOCOL=SASL_PLAINTEXT ")
    assert found.lasting


@pytest.mark.parametrize("answer", [(34,), (33,), (0, b"PLAIN")])
def test_a_listener_that_names_no_mechanism_for_a_login_asks_for_none(answer: tuple[Any, ...]) -> None:
    with kafka_listener(*answer) as port:
        assert _handshake_cause(SecuritySettings(), "127.0.0.1", port) is None


def test_an_address_without_a_port_is_told() -> None:
    found = why_unreachable(KafkaSettings(bootstrap_servers="127.0.0.1"), "_TRANSPORT")
    assert "127.0.0.1 has no port, so 9092 was asked" in found.detail


def test_one_dead_address_beside_a_silent_one_is_not_called_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:9,127.0.0.1:{silent.getsockname()[1]}"
        found = why_unreachable(KafkaSettings(bootstrap_servers=servers), "_TIMED_OUT")
    assert not found.refused
    assert "no answer (_TIMED_OUT)" in found.detail


@pytest.mark.parametrize("patient", [False, True])
def test_only_the_patient_wait_where_nothing_listens(patient: bool) -> None:
    kafka, asked = KafkaSettings(bootstrap_servers="127.0.0.1:9"), []

    def list_topics(timeout: float) -> None:
        asked.append(timeout)
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    client = SimpleNamespace(list_topics=list_topics)
    with pytest.raises(UnreachableError, match="nothing listens there"):
        ask_metadata(client, kafka, within_s=3, patient=patient)
    assert len(asked) == 1 + patient


def test_a_host_that_no_name_server_knows_is_told() -> None:
    found = why_unreachable(KafkaSettings(bootstrap_servers="no-such-host.invalid:9092"), "_TRANSPORT")
    assert "no such host" in found.detail
    assert found.fix.startswith("export SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=")
