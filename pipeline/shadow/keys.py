"""Keys: a folder with the public keys of all who may speak in an experiment, each file named by its role and owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow.signatures import FactSigner, KeyRing
from sluicegate.pipeline.shadow.states import Role, Rosters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SUFFIX = ".pem"
_BEGIN = b"-----BEGIN "
_MOST_BYTES = 65_536
"""Of one file: some hundreds of keys."""
_MOST_FILES = 256


@dataclass(frozen=True, slots=True)
class PeopleKeys:
    """Who may speak as what, and by which keys."""

    rosters: Rosters
    ring: KeyRing

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder of files such as ``editor.anna.pem``, ``approver.otto.pem`` and ``machine.comparator.pem``.

        A file may hold several keys of its owner. So a new key is added before the old one goes. Who may speak in two
        roles has two files.

        Raises:
            CandidateError: The folder cannot be read, or a file in it is not such a one.
        """
        try:
            files = sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIX))
            if len(files) > _MOST_FILES:
                raise CandidateError(
                    f"{folder}: there are more than {_MOST_FILES} keys; keep those of this experiment"
                )
            texts = {path.name: _read(path) for path in files}
        except OSError as error:
            raise CandidateError(
                f"candidate.keys {folder}: cannot be read ({error.strerror}); give the folder of public keys"
            ) from error
        return cls.of(texts)

    @classmethod
    def of(cls, texts: Mapping[str, bytes]) -> Self:
        """The same, of texts by the name of their file.

        Raises:
            CandidateError: As for :meth:`read`.
        """
        owners: dict[Role, set[str]] = {role: set() for role in Role}
        keys: dict[str, list[bytes]] = {}
        for file, text in texts.items():
            role, owner = _owner(file)
            owners[role].add(owner)
            keys.setdefault(owner, []).extend(_BEGIN + part for part in text.split(_BEGIN)[1:])
            if not keys[owner]:
                raise CandidateError(f"{file}: holds no key; `openssl pkey -in key.pem -pubout` writes one")
        if not keys:
            raise CandidateError(
                "candidate.keys: there is no key; name files by role and owner, such as editor.anna.pem"
            )
        rosters = Rosters(*(frozenset(owners[role]) for role in (Role.MACHINE, Role.EDITOR, Role.APPROVER)))
        return cls(rosters, KeyRing(keys))

    def speaker(self, signer: FactSigner, roles: tuple[Role, ...]) -> tuple[Role, str]:
        """As whom a private key speaks: the first of some roles that its owner has.

        Raises:
            CandidateError: No public key here belongs to it, or its owner has none of these roles.
        """
        name = self.ring.owner(signer)
        if name is None:
            raise CandidateError(
                "no public key in candidate.keys belongs to this key; put it there, named by role and owner"
            )
        for role in roles:
            if self.rosters.lists(role, name):
                return role, name
        raise CandidateError(
            f"{name} is no {' and no '.join(roles)} here; ask one, or add the file {roles[0]}.{name}{_SUFFIX}"
        )


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _owner(file: str) -> tuple[Role, str]:
    role, _, owner = file.removesuffix(_SUFFIX).partition(".")
    if role not in {*Role} or not owner:
        raise CandidateError(
            f"{file}: is not named by a role and an owner; name it {', '.join(f'{one}.NAME{_SUFFIX}' for one in Role)}"
        )
    return Role(role), owner
