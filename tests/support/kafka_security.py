"""Apache Kafka with TLS, SASL and rights, and the files and users that reach it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from support.authority import Authority
from support.kafka import ApacheKafka, free_ports

USER, PASSWORD = "guard", "a pass=word; with 'odd' marks"
KEY_PASSWORD = "the key's own word"  # noqa: S105 - of a key that a test makes
_PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
_BEARER = "org.apache.kafka.common.security.oauthbearer"
_SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
_ITERATIONS = 4096  # the least that Kafka takes
_SETTLE_S = 20.0


class SecuredKafka(ApacheKafka):
    """One broker with a listener for each way in.

    ``bootstrap`` stays the open one, for tests alone: whoever comes that way, or over one-way TLS
    without a name, may do anything. Everybody else may do what :meth:`allow` allowed.
    The broker's certificate holds for 127.0.0.1, not for localhost. The listener ``token`` takes every token that is a JWT
    without a signature and is not out of date: Kafka's own check for tests.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._own = Path(tempfile.mkdtemp(prefix="sluicegate-authority-")) if folder is None else None
        folder = folder or self._own
        assert folder is not None
        self._identity, self._trusted = folder / "broker.pem", folder / "trusted.pem"
        self._follow(Authority(folder, "authority"))
        self.client_certificate, self.client_key = self.authority.issue(
            USER, "client.example", key_password=KEY_PASSWORD
        )
        self._ways = dict(zip(("tls", "mutual", "sasl", "login", "token"), free_ports(5), strict=True))
        super().__init__()

    def _follow(self, authority: Authority) -> None:
        self.authority = authority
        certificate, key = authority.issue("broker", "127.0.0.1")
        self._identity.write_bytes(key.read_bytes() + certificate.read_bytes())
        self._trusted.write_bytes(authority.file.read_bytes())

    def follow(self, authority: Authority) -> None:
        """Restart the broker with a certificate of this authority; it trusts no other one from then on."""
        self._follow(authority)
        self.bounce()

    def bounce(self) -> None:
        """Restart the broker: every client has to log in again."""
        self.kill()
        self.restart()

    def _properties(self, node: int, port: int, controller_port: int, voters: str) -> dict[str, str]:
        base = super()._properties(node, port, controller_port, voters)
        further = ",".join(f"{way.upper()}://127.0.0.1:{number}" for way, number in self._ways.items())
        protocols = "TLS:SSL,MUTUAL:SSL,SASL:SASL_SSL,LOGIN:SASL_PLAINTEXT,TOKEN:SASL_PLAINTEXT"
        plain = f'{_PLAIN_MODULE} required user_{USER}="{PASSWORD}";'
        return base | {
            "listeners": f"{base['listeners']},{further}",
            "advertised.listeners": f"{base['advertised.listeners']},{further}",
            "listener.security.protocol.map": f"{base['listener.security.protocol.map']},{protocols}",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._identity),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._trusted),
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl.scram-sha-256.sasl.jaas.config": f"{_SCRAM_MODULE} required;",
            "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{_SCRAM_MODULE} required;",
            "listener.name.sasl.plain.sasl.jaas.config": plain,
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": plain,
            "listener.name.token.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.token.oauthbearer.sasl.jaas.config": f"{_BEARER}.OAuthBearerLoginModule required "
            f'unsecuredLoginStringClaim_sub="{USER}";',
            "listener.name.token.oauthbearer.sasl.server.callback.handler.class": f"{_BEARER}.internals.unsecured"
            ".OAuthBearerUnsecuredValidatorCallbackHandler",
        }

    def address(self, way: str, host: str = "127.0.0.1") -> str:
        """Where the listener ``tls``, ``mutual``, ``sasl``, or without TLS ``login`` or ``token`` listens."""
        return f"{host}:{self._ways[way]}"

    def start(self) -> None:
        """Start, and make the user known to SCRAM."""
        super().start()
        self.add_user(USER, PASSWORD)

    def stop(self) -> None:
        """As of any cluster; without a folder given, the authority's goes, too."""
        super().stop()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    def add_user(self, name: str, password: str) -> None:
        """Make a user known to SCRAM."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            known = ScramCredentialInfo(mechanism, _ITERATIONS)
            made = UserScramCredentialUpsertion(name, known, password.encode())
            admin.alter_user_scram_credentials([made])[name].result(_SETTLE_S)

    def allow(self, kind: ResourceType, name: str, *operations: AclOperation, user: str = USER) -> None:
        """Let a user do this, beside what was allowed before."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        rules = [
            AclBinding(
                kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", one, AclPermissionType.ALLOW
            )
            for one in operations
        ]
        for answer in admin.create_acls(rules).values():
            answer.result(_SETTLE_S)
