"""Ed25519: a key that signs, and public keys by the name that they speak for.

What is signed begins with a purpose, so that no signature made for something else fits.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sluicegate.pipeline.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SigningKey:
    """Signs with one private key.

    Args:
        pem: The private key, unencrypted, as ``openssl genpkey -algorithm ed25519`` writes it.

    Raises:
        SignatureError: It is no such key.
    """

    def __init__(self, pem: bytes) -> None:
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise SignatureError(
                "the key that signs is no unencrypted Ed25519 key in PEM; "
                "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"
            )
        self._key = key

    @property
    def public(self) -> bytes:
        """The public key that belongs to it, as its 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, purpose: bytes, text: bytes) -> str:
        """The signature of a purpose and a text, in base64."""
        return b64encode(self._key.sign(purpose + text)).decode()


class PublicKeys:
    """Public keys by the name that they speak for. A name may have several, so that a key can be replaced.

    Args:
        keys: By name, PEM texts of Ed25519 public keys.

    Raises:
        SignatureError: One is no such key, or stands for two names, who would be one then.
    """

    def __init__(self, keys: Mapping[str, Iterable[bytes]]) -> None:
        self._keys: dict[str, list[Ed25519PublicKey]] = {}
        self._owners: dict[bytes, str] = {}
        for name, pems in keys.items():
            for pem in pems:
                key = _public(name, pem)
                owner = self._owners.setdefault(key.public_bytes_raw(), name)
                if owner != name:
                    raise SignatureError(f"{owner} and {name} have one key; give each a key of their own")
                self._keys.setdefault(name, []).append(key)

    def owner(self, public: bytes) -> str | None:
        """The name that a public key speaks for; None if it is nobody's."""
        return self._owners.get(public)

    def signed(self, name: str, signature: object, purpose: bytes, text: bytes) -> bool:
        """True if a key of that name made this signature, in base64, of that purpose and text."""
        made = _decoded(signature)
        return any(_is_by(key, made, purpose + text) for key in self._keys.get(name, ()))


def _public(name: str, pem: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(
            f"the key of {name} is no Ed25519 public key in PEM; `openssl pkey -in key.pem -pubout` writes one"
        )
    return key


def _decoded(signature: object) -> bytes:
    try:
        return b64decode(signature, validate=True) if isinstance(signature, str) else b""
    except ValueError:
        return b""


def _is_by(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
