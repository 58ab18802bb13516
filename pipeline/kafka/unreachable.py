"""Why a cluster does not answer, in one sentence with the fix.

librdkafka tries for ever and tells a failed request only that nobody answered. What it met on the way
comes through its error callback, and of TLS and logins not all: so this module asks once more, with a client
of its own, and shakes hands by itself where that leaves the cause open.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.client_config import client_config, tls_context
from sluicegate.pipeline.settings.tree import KafkaSettings, SecuritySettings, variable

if TYPE_CHECKING:
    from collections.abc import Iterator


_FIRST_LOOK_S = 1.0  # a healthy cluster has answered by then; a wrong password has been refused
_ASK_S = 1.5
_HANDSHAKE_S = 3.0
_MOST_TOLD = 100
_PORT = 9092  # librdkafka's, where none is given
# Kafka's SaslHandshake of version 1, and its code for "not this mechanism": only a listener that asks for a login says so.
_SASL_HANDSHAKE, _OTHER_MECHANISM = (17, 1), 33
_MOST_ANSWER_BYTES = 4096
# OpenSSL's codes (X509_V_ERR_*): a certificate for another name, another address, out of date.
_HOST_MISMATCH, _ADDRESS_MISMATCH, _NOT_YET_VALID, _EXPIRED = 62, 64, 9, 10


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a cluster does not answer."""

    detail: str
    fix: str
    """What to do: a command, or a few words."""
    lasting: bool = True
    """True where waiting cannot help."""
    refused: bool = False
    """True if nothing listens at any of the addresses: a broker that starts does so in a moment, a wrong address never."""

    def __str__(self) -> str:
        return f"{self.detail}; {self.fix}"


class UnreachableError(ClusterError):
    """A cluster does not answer."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(str(cause))
        self.cause = cause


def ask_metadata(client: Any, kafka: KafkaSettings, *, within_s: float, patient: bool = False) -> Any:
    """The metadata of all topics (asking for one by name may create it). Blocking.

    Args:
        client: Any client of confluent-kafka on this cluster.
        kafka: What it was made from.
        within_s: Limit while nobody answers; a refusal that waiting cannot mend ends sooner.
        patient: True waits for a broker that may be starting. False ends where nothing listens: a person waits.

    Raises:
        UnreachableError: No answer; it says why and what to do.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415 - only who asks pays for the client

    first_s = min(_FIRST_LOOK_S, within_s)
    for limit_s in (first_s, within_s - first_s):
        try:
            return client.list_topics(timeout=max(limit_s, 0.1))
        except KafkaException as error:
            cause = why_unreachable(kafka, error.args[0].name())
            if cause.lasting or (cause.refused and not patient):
                break
    raise UnreachableError(cause)


def why_unreachable(kafka: KafkaSettings, code: str) -> Cause:
    """Find out; blocking, some seconds.

    Args:
        kafka: The cluster.
        code: What the failed request said, in librdkafka's names.

    Raises:
        SettingsError: A file that the security settings name is of no use.
    """
    told = _told(kafka)
    server = kafka.bootstrap_servers
    if texts := [text for name, text in told if name == "_AUTHENTICATION"]:
        return _refused_login(kafka, any("mechanism handshake failed" in text for text in texts))
    if any(name == "_RESOLVE" for name, _ in told):
        return Cause(
            f"kafka.bootstrap_servers {server}: no such host",
            f"export {variable('kafka', 'bootstrap_servers')}=HOST:PORT  # the name or address of a broker",
            lasting=False,
        )
    if any("alert" in text and "certificate" in text for _, text in told):
        return _refused_certificate(kafka)
    found = (_handshake_cause(kafka.security, *place) for place in _places(server))
    return next((cause for cause in found if cause is not None), None) or _silent(server, code, told)


def _silent(server: str, code: str, told: list[tuple[str, str]]) -> Cause:
    """Nobody answers, and neither TLS nor a login is why."""
    addresses = [one.strip() if ":" in one else f"{one.strip()}:{_PORT}" for one in server.split(",")]
    tries = [text for name, text in told if name == "_TRANSPORT" and "refused" in text]
    refused = all(any(f"{address}/" in text for text in tries) for address in addresses)
    wrong = "nothing listens there (connection refused)" if refused else f"no answer ({code})"
    without = next((one.strip() for one in server.split(",") if ":" not in one), None)
    port = f"; {without} has no port, so {_PORT} was asked" if without is not None else ""
    return Cause(
        f"kafka.bootstrap_servers {server} cannot be reached: {wrong}{port}",
        f"export {variable('kafka', 'bootstrap_servers')}=HOST:PORT  # or start the broker that listens there; "
        "`sluicegate demo` brings its own",
        lasting=False,
        refused=refused,
    )


def _told(kafka: KafkaSettings) -> list[tuple[str, str]]:
    """What librdkafka meets: its name and text of each fault, and the lines of its log, without a name."""
    from confluent_kafka import KafkaException  # noqa: PLC0415 - only who asks pays for the client
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - the same

    told: list[tuple[str, str]] = []

    def note(name: str, text: str) -> bool:
        if len(told) < _MOST_TOLD:
            told.append((name, text))
        return False  # for the logger: nobody else is told

    log = logging.Logger("librdkafka")  # noqa: LOG001 - for this one client, not for the process
    log.addFilter(lambda line: note("", line.getMessage()))
    config = client_config(kafka) | {"error_cb": lambda error: note(error.name(), error.str())}
    admin = AdminClient(config, logger=log)
    try:
        admin.list_topics(timeout=_ASK_S)
    except KafkaException:
        admin.poll(0)
    return told


def _refused_login(kafka: KafkaSettings, mechanism: bool) -> Cause:
    security = kafka.security
    if mechanism:
        return Cause(
            f"the broker at {kafka.bootstrap_servers} takes no kafka.security.mechanism {security.mechanism} "
            f"on this listener",
            f"export {_name('mechanism')}=...  # one that it knows, or {_name('protocol')}=...",
        )
    if security.oauth:
        return Cause(
            f"no login with a token of kafka.security.oauth_callback {security.oauth_callback} at "
            f"{kafka.bootstrap_servers}: it gave none, or the broker refused it",
            f"export {_name('oauth_callback')}=...  # what gives tokens for this cluster; the log has what it raised",
        )
    return Cause(
        f"the broker at {kafka.bootstrap_servers} refused kafka.security.username {security.username} "
        f"with its password ({security.mechanism})",
        f"export {_name('username')}=... {_name('password_file')}=...  # as the cluster knows them",
    )


def _refused_certificate(kafka: KafkaSettings) -> Cause:
    given = kafka.security.certificate_file
    has = (
        f"refused kafka.security.certificate_file {given}"
        if given
        else "asks for a certificate of the client"
    )
    return Cause(
        f"the broker at {kafka.bootstrap_servers} {has}",
        f"export {_name('certificate_file')}=... {_name('key_file')}=...  # issued by an authority that it trusts",
    )


def _handshake_cause(security: SecuritySettings, host: str, port: int) -> Cause | None:
    """What handshakes of our own tell of this server, of TLS and of a login; None if nothing."""
    context = tls_context(security)
    try:
        with socket.create_connection((host, port), timeout=_HANDSHAKE_S) as plain:
            if context is not None:
                with context.wrap_socket(plain, server_hostname=host) as encrypted:
                    return None if security.sasl else _login_cause(encrypted, f"{host}:{port}", "SASL_SSL")
            if not security.sasl and (cause := _login_cause(plain, f"{host}:{port}", "SASL_PLAINTEXT")):
                return cause
        # Only whether it speaks TLS: nothing is sent, so nobody need be trusted.
        open_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        open_context.check_hostname = False
        open_context.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection((host, port), timeout=_HANDSHAKE_S) as plain,
            open_context.wrap_socket(plain, server_hostname=host),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        return _untrusted(security, f"{host}:{port}", error)
    except (ssl.SSLError, ConnectionResetError):
        return _no_tls(security, f"{host}:{port}") if security.tls else None
    except OSError:
        return None
    other = "SASL_SSL" if security.sasl else "SSL or SASL_SSL"
    return Cause(
        f"{host}:{port} is a TLS listener, and kafka.security.protocol is {security.protocol}",
        f"export {_name('protocol')}={other.partition(' ')[0]}  # {other}, as the listener is configured",
    )


def _login_cause(connection: socket.socket, place: str, protocol: str) -> Cause | None:
    """Whether a listener asks for a login: it alone names its mechanisms to somebody who asks for one that nobody has."""
    body = struct.pack(">hhihh", *_SASL_HANDSHAKE, 0, -1, 0)  # without a client's name, for the mechanism ""
    try:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = b""
        while len(answer) < _MOST_ANSWER_BYTES and (part := connection.recv(_MOST_ANSWER_BYTES)):
            answer += part
            if len(answer) >= 4 and len(answer) >= 4 + struct.unpack_from(">i", answer)[0]:
                break
        _, _, code, count = struct.unpack_from(">iihi", answer)
    except (ConnectionError, ssl.SSLError, struct.error):  # it ends the connection, or speaks something else
        return None
    return _wants_login(place, protocol) if code == _OTHER_MECHANISM and count > 0 else None


def _wants_login(place: str, protocol: str) -> Cause:
    return Cause(
        f"{place} asks for a login, and kafka.security.protocol is without one",
        f"export {_name('protocol')}={protocol} {_name('username')}=... {_name('password_file')}=...",
    )


def _untrusted(security: SecuritySettings, place: str, error: ssl.SSLCertVerificationError) -> Cause:
    if error.verify_code in (_HOST_MISMATCH, _ADDRESS_MISMATCH):
        return Cause(
            f"the certificate of {place} is for another name",
            f"export {variable('kafka', 'bootstrap_servers')}=HOST:PORT  # a name that the certificate holds, "
            "or have it issued for this one",
        )
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        return Cause(
            f"the certificate of {place} is out of date ({error.verify_message})",
            f"openssl s_client -connect {place} </dev/null  # shows it; renew it, or set this machine's clock",
        )
    return Cause(
        f"the certificate of {place} is from an authority that kafka.security.ca_file "
        f"{security.ca_file or '(unset: those of the system)'} does not hold ({error.verify_message})",
        f"export {_name('ca_file')}=...  # the authority that issued the broker's certificate",
    )


def _no_tls(security: SecuritySettings, place: str) -> Cause:
    other = "SASL_PLAINTEXT" if security.sasl else "PLAINTEXT"
    return Cause(
        f"{place} does not answer a TLS handshake, and kafka.security.protocol is {security.protocol}",
        f"export {variable('kafka', 'bootstrap_servers')}=HOST:PORT  # the TLS listener, or {_name('protocol')}={other}",
    )


def _places(servers: str) -> Iterator[tuple[str, int]]:
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if port.isdigit() and int(port) <= 65_535:
            yield host.strip("[]"), int(port)


def _name(setting: str) -> str:
    return variable("kafka", "security", setting)
