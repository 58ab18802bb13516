"""A folder of public keys: who may speak as what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow.keys import PeopleKeys
from sluicegate.pipeline.shadow.signatures import FactSigner
from sluicegate.pipeline.shadow.states import Role
from support.candidates import write_keys

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_named_by_role_and_owner_and_others_are_passed_over(tmp_path: Path) -> None:
    private = write_keys(tmp_path, {"anna": "editor", "otto.b": "approver", "comparator": "machine"})
    (tmp_path / "keys" / "README").write_text("who these are")
    keys = PeopleKeys.read(tmp_path / "keys")
    assert keys.rosters.editors == {"anna"}
    assert keys.rosters.approvers == {"otto.b"}
    anna, otto = (FactSigner(private[name].read_bytes()) for name in ("anna", "otto.b"))
    assert keys.speaker(anna, (Role.APPROVER, Role.EDITOR)) == (Role.EDITOR, "anna")
    assert keys.speaker(otto, (Role.APPROVER, Role.EDITOR)) == (Role.APPROVER, "otto.b")
    with pytest.raises(
        CandidateError, match=r"anna is no approver here; ask one, or add the file approver\.anna\.pem"
    ):
        keys.speaker(anna, (Role.APPROVER,))
    (stranger,) = write_keys(tmp_path / "other", {"anna": "editor"}).values()
    with pytest.raises(CandidateError, match=r"no public key in candidate\.keys belongs to this key"):
        keys.speaker(FactSigner(stranger.read_bytes()), (Role.EDITOR,))


def test_an_owner_may_have_several_keys_and_several_roles(tmp_path: Path) -> None:
    first, second = write_keys(tmp_path / "1"), write_keys(tmp_path / "2")
    both = [(tmp_path / place / "keys" / "editor.anna.pem").read_bytes() for place in "12"]
    keys = PeopleKeys.of({"editor.anna.pem": b"a comment\n" + b"".join(both), "approver.anna.pem": both[1]})
    for private in (first, second):
        signer = FactSigner(private["anna"].read_bytes())
        assert keys.speaker(signer, (Role.EDITOR,)) == (Role.EDITOR, "anna")
    assert keys.rosters.approvers == {"anna"}


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("boss.anna.pem", b"", "is not named by a role and an owner"),
        ("editor.pem", b"", "is not named by a role and an owner"),
        ("editor.anna.pem", b"", "holds no key"),
        ("editor.anna.pem", b"-----BEGIN PUBLIC KEY-----\nx", "the key of anna is no Ed25519 public key"),
    ],
)
def test_what_is_no_key_of_anybody_is_refused(file: str, text: bytes, fault: str) -> None:
    with pytest.raises(CandidateError, match=fault):
        PeopleKeys.of({file: text})


def test_no_keys_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match="there is no key"):
        PeopleKeys.read(tmp_path)
    with pytest.raises(CandidateError, match="cannot be read"):
        PeopleKeys.read(tmp_path / "absent")
