"""A certificate authority for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trustme
from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


class Authority:
    """A certificate authority with its files: its own certificate, and those that it issues."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._ca = trustme.CA()
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(
        self, subject: str, host: str, *, key_password: str | None = None, not_after: datetime | None = None
    ) -> tuple[Path, Path]:
        """The files of a new certificate and of its key."""
        issued = self._ca.issue_cert(host, common_name=subject, not_after=not_after)
        certificate, key = (self._folder / f"{self._name}-{subject}.{end}" for end in ("crt", "key"))
        certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        key.write_bytes(_pkcs8(issued.private_key_pem.bytes(), key_password))
        return certificate, key


def _pkcs8(pem: bytes, password: str | None) -> bytes:
    """The one format of keys that Kafka reads from PEM files."""
    encryption = (
        serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    )
    return serialization.load_pem_private_key(pem, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
