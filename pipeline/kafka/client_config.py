"""What every Kafka client of ours is configured with."""

from __future__ import annotations

import importlib
import logging
import ssl
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.settings.tree import KafkaSettings, SecuritySettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


_log = logging.getLogger("sluicegate.credentials")

REFRESH_MS = 10_000
"""How soon a member of a group reads a partition that was added; librdkafka's own five minutes are long for whoever waits."""
_PASSWORD_BYTES = 4096  # a file far longer than any password is another file


def librdkafka_security(security: SecuritySettings) -> dict[str, Any]:
    """Librdkafka's settings for it; the host name of a broker is always checked against its certificate.

    Raises:
        SettingsError: A file is missing or of no use; the message names setting and file.
    """
    tls_context(security)  # asked first: librdkafka names neither the setting nor the file
    config: dict[str, Any] = {"security.protocol": security.protocol}
    if security.tls:
        files = {
            "ssl.ca.location": security.ca_file,
            "ssl.certificate.location": security.certificate_file,
            "ssl.key.location": security.key_file,
        }
        config |= {name: str(path) for name, path in files.items() if path is not None}
        if security.key_password is not None:
            config["ssl.key.password"] = security.key_password.get_secret_value()
    if security.sasl:
        config["sasl.mechanism"] = security.mechanism
    if security.oauth_callback is not None:
        config["oauth_cb"] = oauth_callback(security.oauth_callback)
    elif security.sasl:
        config["sasl.username"] = security.username or ""
        config["sasl.password"] = sasl_password(security)
    return config


def tls_context(security: SecuritySettings) -> ssl.SSLContext | None:
    """A context that checks the broker's certificate and name; None where the protocol has no TLS.

    Raises:
        SettingsError: A file is missing or of no use; the message names setting and file.
    """
    if not security.tls:
        return None
    if security.ca_file is not None:
        _read("ca_file", security.ca_file)
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
    except ssl.SSLError as error:
        raise SettingsError(
            f"kafka.security.ca_file {security.ca_file} holds no certificate in PEM form; "
            "give the file of the authority that issued the brokers' certificates"
        ) from error
    if security.certificate_file is not None and security.key_file is not None:
        _read("certificate_file", security.certificate_file)
        _read("key_file", security.key_file)
        _load_certificate(context, security, security.certificate_file, security.key_file)
    return context


def sasl_password(security: SecuritySettings) -> str:
    """The password, from the setting or its file.

    Raises:
        SettingsError: The file cannot be read, or holds no password.
    """
    if security.password_file is None:
        return security.password.get_secret_value() if security.password is not None else ""
    content = _read("password_file", security.password_file)
    try:
        password = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        password = ""
    if not password or len(content) > _PASSWORD_BYTES:
        raise SettingsError(
            f"kafka.security.password_file {security.password_file} holds no password; "
            f"it must be text of at most {_PASSWORD_BYTES} bytes and nothing but the password"
        ) from None
    return password


def oauth_callback(name: str) -> Callable[[str], tuple[Any, ...]]:
    """The function that gives tokens, as confluent-kafka calls it. What it raises is logged without its message: a token may be there.

    Raises:
        SettingsError: It cannot be imported, or is no function.
    """
    module, _, function = name.partition(":")
    try:
        give = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"kafka.security.oauth_callback {name} cannot be imported ({error}); install the package where the worker "
            "runs, or put its folder on PYTHONPATH"
        ) from error
    if not callable(give):
        raise SettingsError(
            f"kafka.security.oauth_callback {name} is no function; name one that gives (token, expiry in Unix seconds)"
        )

    def ask(config: str) -> tuple[Any, ...]:
        try:
            token: tuple[Any, ...] = give(config)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's function raises
            _log.warning("kafka.security.oauth_callback %s gave no token: %s", name, frames(error))
            raise RuntimeError(type(error).__name__) from None
        return token

    try:
        first = [
            ask("")
        ]  # asked here: a client that cannot be made names neither the setting nor the function
    except RuntimeError as error:
        raise SettingsError(
            f"kafka.security.oauth_callback {name} gave no token ({error}); the log says where it failed"
        ) from None
    return lambda config: first.pop() if first else ask(config)


def _load_certificate(
    context: ssl.SSLContext, security: SecuritySettings, certificate: Path, key: Path
) -> None:
    secret = security.key_password
    try:
        # Without a password given here, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, lambda: secret.get_secret_value() if secret else "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"kafka.security.key_file {key} is not the key of kafka.security.certificate_file {certificate}; "
                "give the two that were issued together"
            ) from error
        raise SettingsError(
            f"kafka.security.certificate_file {certificate} and kafka.security.key_file {key} cannot be used; "
            "both must be PEM, and kafka.security.key_password right where the key is encrypted"
        ) from error


def _read(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PASSWORD_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"kafka.security.{name} {path} cannot be read ({error.strerror}); mount the file there, or correct the setting"
        ) from error


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """Librdkafka's settings for reaching the cluster; callers add those of their role.

    Raises:
        SettingsError: A file that the security settings name is missing or of no use.
    """
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "client.id": "sluicegate",
        **librdkafka_security(kafka.security),
        # librdkafka prints connection trouble on stderr by itself; errors reach us as values.
        "log_level": 2,
        # Brokers that are back must not wait for librdkafka's ten seconds.
        "reconnect.backoff.max.ms": 2000,
    }
