"""Signatures: of a purpose and a text, by a key of the name that is asked for."""

from __future__ import annotations

import pytest

from sluicegate.pipeline.errors import SignatureError
from sluicegate.pipeline.signing.ed25519 import PublicKeys, SigningKey
from unit.pipeline.patterns.circles import NORTH, SOUTH

KEYS = PublicKeys({"north": [NORTH[1]], "south": [SOUTH[1]]})
SIGNED = SigningKey(NORTH[0]).sign(b"purpose\n", b"text")


@pytest.mark.parametrize(
    ("name", "signature", "purpose", "text", "good"),
    [
        ("north", SIGNED, b"purpose\n", b"text", True),
        ("south", SIGNED, b"purpose\n", b"text", False),
        ("nobody", SIGNED, b"purpose\n", b"text", False),
        ("north", SIGNED, b"another\n", b"text", False),
        ("north", SIGNED, b"purpose\n", b"texts", False),
        ("north", "!" + SIGNED, b"purpose\n", b"text", False),
        ("north", None, b"purpose\n", b"text", False),
    ],
    ids=["right", "another's", "nobody's", "purpose", "text", "damaged", "none"],
)
def test_a_signature_is_of_one_key_one_purpose_and_one_text(
    name: str, signature: object, purpose: bytes, text: bytes, good: bool
) -> None:
    assert KEYS.signed(name, signature, purpose, text) is good


def test_one_key_is_of_one_name() -> None:
    with pytest.raises(SignatureError, match="have one key"):
        PublicKeys({"north": [NORTH[1]], "south": [NORTH[1]]})


@pytest.mark.parametrize(
    "pem", [b"", NORTH[1], b"-----BEGIN PRIVATE KEY-----"], ids=["empty", "public", "cut"]
)
def test_what_is_no_key_cannot_sign(pem: bytes) -> None:
    with pytest.raises(SignatureError, match="openssl"):
        SigningKey(pem)
