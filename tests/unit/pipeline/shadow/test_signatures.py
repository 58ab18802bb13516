"""Signed facts: read by the key of the name that stands in them, and by no other."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow.signatures import FactSigner, KeyRing
from sluicegate.pipeline.shadow.states import CandidateFact, CandidateState, JudgeDigests, Role


def pems(key: Ed25519PrivateKey | X25519PrivateKey) -> tuple[bytes, bytes]:
    """A key in PEM, private and public."""
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return (
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
        key.public_key().public_bytes(pem, public),
    )


ANN, AMY, OLD_AMY = (pems(Ed25519PrivateKey.generate()) for _ in range(3))
RING = KeyRing({"ann": [ANN[1]], "amy": [OLD_AMY[1], AMY[1]]})


def fact(by: str = "ann", **fields: Any) -> CandidateFact:
    return CandidateFact(
        **{
            "experiment": "retrained",
            "follows": None,
            "state": CandidateState.CANARY,
            "incumbent": JudgeDigests(engines=(f"sha256:{'1' * 64}",), policy=f"sha256:{'a' * 64}"),
            "candidate": JudgeDigests(engines=(f"sha256:{'2' * 64}",), policy=f"sha256:{'a' * 64}"),
            "report": f"sha256:{'d' * 64}",
            "share": 0.01,
            "role": Role.APPROVER,
            "by": by,
            "at": datetime(2026, 1, 1, 12, 0, 0, 123, tzinfo=UTC),
            "why": "la preuve suffit – 十分",
        }
        | fields
    )


def test_a_signed_fact_is_read_as_it_was_signed() -> None:
    said = fact()
    assert RING.open(FactSigner(ANN[0]).sign(said)) == said


@pytest.mark.parametrize("key", [AMY, OLD_AMY])
def test_a_name_may_have_several_keys(key: tuple[bytes, bytes]) -> None:
    assert RING.open(FactSigner(key[0]).sign(fact("amy"))).by == "amy"


@pytest.mark.parametrize(("key", "name"), [(ANN, "amy"), (AMY, "ann"), (ANN, "nobody"), (ANN, "Ann")])
def test_a_fact_in_the_name_of_another_is_refused(key: tuple[bytes, bytes], name: str) -> None:
    with pytest.raises(CandidateError, match=f"not signed by a key of {name}"):
        RING.open(FactSigner(key[0]).sign(fact(name)))


@pytest.mark.parametrize(
    "change",
    [
        {"share": 1.0},
        {"state": "promoted", "share": None},
        {"report": f"sha256:{'e' * 64}"},
        {"follows": f"sha256:{'e' * 64}"},
        {"at": "2026-01-02T12:00:00Z"},
        {"why": "another reason"},
        {"by": "amy"},
        {"role": "editor"},
    ],
)
def test_a_fact_that_was_changed_is_refused(change: dict[str, Any]) -> None:
    envelope = orjson.loads(FactSigner(ANN[0]).sign(fact()))
    envelope["fact"] |= change
    with pytest.raises(CandidateError, match="not signed"):
        RING.open(orjson.dumps(envelope))


def test_a_record_that_says_the_same_in_another_layout_is_the_same_fact() -> None:
    envelope = orjson.loads(FactSigner(ANN[0]).sign(fact()))
    envelope["fact"] = dict(reversed(envelope["fact"].items()))
    again = RING.open(orjson.dumps(envelope, option=orjson.OPT_INDENT_2))
    assert again.digest == fact().digest


def test_a_signature_that_was_made_for_something_else_is_refused() -> None:
    key = serialization.load_pem_private_key(ANN[0], None)
    assert isinstance(key, Ed25519PrivateKey)
    bare = b64encode(key.sign(fact().encode())).decode()
    with pytest.raises(CandidateError, match="not signed"):
        RING.open(orjson.dumps({"fact": orjson.Fragment(fact().encode()), "signature": bare}))


@pytest.mark.parametrize("signature", [None, 1, "", "é", "!!", "AAAA", [], "A" * 88])
def test_what_is_no_signature_is_refused(signature: object) -> None:
    value = orjson.dumps({"fact": orjson.Fragment(fact().encode()), "signature": signature})
    with pytest.raises(CandidateError, match="not signed"):
        RING.open(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"null", b"[]", b"{}", b'{"fact": {}}', fact().encode(), b'{"fact": 1, "signature": "", "x": 1}'],
)
def test_what_is_no_signed_fact_is_refused(value: bytes) -> None:
    with pytest.raises(CandidateError, match="no signed fact"):
        RING.open(value)


def test_a_record_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(CandidateError, match="shorten"):
        RING.open(b"[" * 10_000)


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(value: bytes) -> None:
    with pytest.raises(CandidateError):
        RING.open(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
        max_leaves=8,
    )
)
def test_no_fact_without_a_signature_is_read(content: object) -> None:
    value = orjson.dumps({"fact": content, "signature": "A" * 88})
    with pytest.raises(CandidateError):
        RING.open(value)


def test_one_key_for_two_names_is_refused() -> None:
    with pytest.raises(CandidateError, match="a key of their own"):
        KeyRing({"ann": [ANN[1]], "amy": [ANN[1]]})


@pytest.mark.parametrize("pem", [b"", b"no key", ANN[0], pems(X25519PrivateKey.generate())[1]])
def test_a_public_key_of_another_kind_is_refused(pem: bytes) -> None:
    with pytest.raises(CandidateError, match="openssl pkey"):
        KeyRing({"ann": [pem]})


@pytest.mark.parametrize("pem", [b"", b"no key", ANN[1], pems(X25519PrivateKey.generate())[0]])
def test_a_private_key_of_another_kind_is_refused(pem: bytes) -> None:
    with pytest.raises(CandidateError, match="openssl genpkey"):
        FactSigner(pem)


@pytest.mark.parametrize("depth", [200, 400, 900])
def test_a_record_that_is_nested_deeply_is_no_fact(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    with pytest.raises(CandidateError):
        RING.open(b'{"fact":' + nested + b',"signature":"x"}')
