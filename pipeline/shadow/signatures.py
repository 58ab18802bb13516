"""Signatures: a fact about a candidate, signed with the key of who says it (Ed25519). Needs the library ``cryptography``.

Without them a name in a fact is what its writer claims. With them it is the name of a key: a reader takes no fact whose
signature is not by a key of the name that stands in it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow.states import MOST_BYTES, CandidateFact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PURPOSE = b"sluicegate: a fact about a candidate\n"
"""Stands before what is signed, so that no signature made for something else fits."""
_ENVELOPE_BYTES = 256
"""Around a fact: names, and 88 characters of signature."""


class FactSigner:
    """Signs facts in one name.

    Args:
        pem: The private key, unencrypted, as ``openssl genpkey -algorithm ed25519`` writes it.

    Raises:
        CandidateError: It is no such key.
    """

    def __init__(self, pem: bytes) -> None:
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise CandidateError(
                "the key that signs is no unencrypted Ed25519 key in PEM; "
                "`openssl genpkey -algorithm ed25519 -out key.pem` makes one"
            )
        self._key = key

    def sign(self, fact: CandidateFact) -> bytes:
        """The record's value: the fact, and a signature of all of it."""
        text = fact.encode()
        signature = b64encode(self._key.sign(_PURPOSE + text)).decode()
        return orjson.dumps({"fact": orjson.Fragment(text), "signature": signature})


class KeyRing:
    """Public keys by the name that they speak for. A name may have several, so that a key can be replaced.

    Args:
        keys: By name, PEM texts of Ed25519 public keys.

    Raises:
        CandidateError: One is no such key, or stands for two names, who would be one person then.
    """

    def __init__(self, keys: Mapping[str, Iterable[bytes]]) -> None:
        self._keys: dict[str, list[Ed25519PublicKey]] = {}
        owners: dict[bytes, str] = {}
        for name, pems in keys.items():
            for pem in pems:
                key = _public(name, pem)
                owner = owners.setdefault(key.public_bytes_raw(), name)
                if owner != name:
                    raise CandidateError(f"{owner} and {name} have one key; give each a key of their own")
                self._keys.setdefault(name, []).append(key)

    def open(self, value: bytes) -> CandidateFact:
        """Read a signed record's value.

        Raises:
            CandidateError: It is no fact, or nobody signed it who may speak in its name.
        """
        if len(value) > MOST_BYTES + _ENVELOPE_BYTES:
            raise CandidateError(f"a signed fact has {len(value)} bytes; shorten what it says")
        try:
            envelope = orjson.loads(value)
        except orjson.JSONDecodeError:
            envelope = None
        if not isinstance(envelope, dict) or envelope.keys() != {"fact", "signature"}:
            raise CandidateError("it is no signed fact; sign it, or read it with a release that knows it")
        # What is signed is the one text that a fact has, and not the text that stands in the record.
        fact = CandidateFact.decode(orjson.dumps(envelope["fact"]))
        signed = _PURPOSE + fact.encode()
        signature = _decoded(envelope["signature"])
        if not any(_is_by(key, signature, signed) for key in self._keys.get(fact.by, ())):
            raise CandidateError(
                f"it is not signed by a key of {fact.by}; put that key on the list, or let its owner say it"
            )
        return fact


def _public(name: str, pem: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise CandidateError(
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
