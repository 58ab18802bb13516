"""Signatures: a fact about a candidate, signed with the key of who says it (Ed25519). Needs the library ``cryptography``.

Without them a name in a fact is what its writer claims. With them it is the name of a key: a reader takes no fact whose
signature is not by a key of the name that stands in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sluicegate.pipeline.errors import CandidateError, SignatureError
from sluicegate.pipeline.shadow.states import MOST_BYTES, CandidateFact
from sluicegate.pipeline.signing.ed25519 import PublicKeys, SigningKey

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
            self._key = SigningKey(pem)
        except SignatureError as error:
            raise CandidateError(str(error)) from None

    @property
    def public(self) -> bytes:
        """The public key that belongs to it, as its 32 bytes."""
        return self._key.public

    def sign(self, fact: CandidateFact) -> bytes:
        """The record's value: the fact, and a signature of all of it."""
        text = fact.encode()
        return orjson.dumps({"fact": orjson.Fragment(text), "signature": self._key.sign(_PURPOSE, text)})


class KeyRing:
    """Public keys by the name that they speak for. A name may have several, so that a key can be replaced.

    Args:
        keys: By name, PEM texts of Ed25519 public keys.

    Raises:
        CandidateError: One is no such key, or stands for two names, who would be one person then.
    """

    def __init__(self, keys: Mapping[str, Iterable[bytes]]) -> None:
        try:
            self._keys = PublicKeys(keys)
        except SignatureError as error:
            raise CandidateError(str(error)) from None

    def owner(self, signer: FactSigner) -> str | None:
        """In whose name somebody signs; None if nobody's key is theirs."""
        return self._keys.owner(signer.public)

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
        try:
            text = orjson.dumps(envelope["fact"])
        except TypeError:  # nested more deeply than is written
            raise CandidateError("it is no signed fact; a fact is not nested as deeply") from None
        fact = CandidateFact.decode(text)
        if not self._keys.signed(fact.by, envelope["signature"], _PURPOSE, fact.encode()):
            raise CandidateError(
                f"it is not signed by a key of {fact.by}; put that key on the list, or let its owner say it"
            )
        return fact
