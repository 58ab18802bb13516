"""The section ``kafka.security``: one block from which every Kafka client of ours gets its way in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class SecuritySettings(BaseModel):
    """How a client proves who it is, and whom it trusts: the same for every client, see docs/connections.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol of the brokers' listener, in Kafka's own words."
    )
    ca_file: Path | None = Field(
        None,
        description="PEM file of the authorities to trust. Without it, the client trusts those of the system.",
    )
    certificate_file: Path | None = Field(
        None, description="PEM file of this client's certificate, for brokers that ask for one."
    )
    key_file: Path | None = Field(None, description="PEM file of the certificate's key.")
    key_password: SecretStr | None = Field(None, description="Password of an encrypted key file.")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512",
        description="SASL mechanism: how the client proves its password, or that it shows a token (`OAUTHBEARER`).",
    )
    username: str | None = Field(None, min_length=1, description="Name to log in with.")
    password: SecretStr | None = Field(None, description="Password to log in with.")
    password_file: Path | None = Field(
        None,
        description="File with the password, such as a mounted secret. A newline at its end does not count.",
    )

    oauth_callback: str | None = Field(
        None,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="Mechanism OAUTHBEARER: the function that gives a token, as `package.module:function`.",
    )

    @property
    def tls(self) -> bool:
        """True where the connection is encrypted."""
        return self.protocol.endswith("SSL")

    @property
    def sasl(self) -> bool:
        """True where a password is proved, or a token shown."""
        return self.protocol.startswith("SASL")

    @property
    def oauth(self) -> bool:
        """True where a token is shown."""
        return self.sasl and self.mechanism == "OAUTHBEARER"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError(
                "kafka.security.certificate_file and kafka.security.key_file come together; "
                "for example certificate_file /run/secrets/client.crt and key_file /run/secrets/client.key"
            )
        if self.key_password is not None and self.key_file is None:
            raise ValueError(
                "kafka.security.key_password needs kafka.security.key_file; "
                "for example key_file /run/secrets/client.key"
            )
        if self.password is not None and self.password_file is not None:
            raise ValueError(
                "kafka.security.password and kafka.security.password_file say the same; keep one, "
                "for example password_file /run/secrets/kafka-password"
            )
        has_password = self.password is not None or self.password_file is not None
        if self.oauth != (self.oauth_callback is not None):
            raise ValueError(
                "kafka.security.mechanism OAUTHBEARER and kafka.security.oauth_callback come together, with a protocol that "
                "has SASL; for example protocol SASL_SSL and oauth_callback company.kafka:token"
            )
        if self.oauth and (self.username or has_password):
            raise ValueError(
                "kafka.security.mechanism OAUTHBEARER logs in with a token; leave out kafka.security.username, password "
                "and password_file"
            )
        if self.sasl and not self.oauth and not (self.username and has_password):
            raise ValueError(
                f"kafka.security.protocol {self.protocol} needs kafka.security.username and "
                "kafka.security.password_file (or password); "
                "for example username guard and password_file /run/secrets/kafka-password"
            )
        return self

    @model_validator(mode="after")
    def _used(self) -> Self:
        """A setting without effect would give a false sense of safety."""
        for names, has_effect, other in (
            (("ca_file", "certificate_file"), self.tls, "SASL_SSL" if self.sasl else "SSL"),
            (("username", "password", "password_file"), self.sasl, "SASL_SSL"),
        ):
            idle = [name for name in names if getattr(self, name) is not None]
            if idle and not has_effect:
                raise ValueError(
                    f"kafka.security.{idle[0]} has no effect with kafka.security.protocol {self.protocol}; "
                    f"for example protocol {other}"
                )
        return self
