"""A circle: institutions that share patterns, with the key that they hash with and the keys that they sign with."""

from __future__ import annotations

import os
import secrets
from base64 import b64decode, b64encode
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.facts import Line
from sluicegate.pipeline.patterns.pattern import KeyName, MemberName

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECRET_BYTES = 32
_KEY_DAYS = 92
"""A quarter: who leaves the circle can guess with the old key for no longer than that about what is new."""
_MEMBER_DAYS = 366
FILE = "circle.json"


class _CirclePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CircleKey(_CirclePart):
    """A key that values are hashed with."""

    id: KeyName
    secret: SecretStr = Field(description="32 bytes in base64.")
    last_day: date

    @model_validator(mode="after")
    def _is_long_enough(self) -> Self:
        try:
            long_enough = len(self.value) == _SECRET_BYTES
        except ValueError:
            long_enough = False
        if not long_enough:
            raise ValueError("secret is 32 bytes in base64; `sluicegate patterns circle` draws one")
        return self

    @property
    def value(self) -> bytes:
        """The secret itself."""
        return b64decode(self.secret.get_secret_value(), validate=True)


class MemberKey(_CirclePart):
    """A public key that a member signs with."""

    public_key: str = Field(description="Ed25519, in PEM.")
    last_day: date


class Circle(_CirclePart):
    """What all members have in one file. It holds the circle's key: keep it as you keep a password."""

    name: MemberName
    k: Annotated[int, Field(ge=3, le=1000)] = 5
    licence: Line
    keys: Annotated[tuple[CircleKey, ...], Field(min_length=1, max_length=2)]
    members: dict[MemberName, tuple[MemberKey, ...]]

    def newest_key(self, today: date) -> CircleKey:
        """The key that patterns are made with today.

        Raises:
            PatternError: All have expired.
        """
        good = [key for key in self.keys if key.last_day >= today]
        if not good:
            raise PatternError(
                f"the keys of circle {self.name} expired on {max(key.last_day for key in self.keys)}; "
                "get the circle's new file"
            )
        return max(good, key=lambda key: key.last_day)

    def key(self, name: str, today: date) -> CircleKey | None:
        """A key by its name; None if there is none, or it has expired."""
        return next((key for key in self.keys if key.id == name and key.last_day >= today), None)

    def signing_keys(self, today: date) -> dict[str, list[bytes]]:
        """Public keys of the members that have not expired, as PEM texts."""
        return {
            name: [key.public_key.encode() for key in keys if key.last_day >= today]
            for name, keys in self.members.items()
        }

    def encode(self) -> bytes:
        """The file's content, secrets included."""
        document = self.model_dump(mode="json")
        for key, given in zip(document["keys"], self.keys, strict=True):
            key["secret"] = given.secret.get_secret_value()
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def read_circle(path: Path) -> Circle:
    """Read a circle's file.

    Raises:
        PatternError: It cannot be read, others may read it, or it describes no circle.
    """
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise PatternError(
            f"{path}: cannot be read ({error.strerror}); put the circle's file there, as your circle gave it to you"
        ) from error
    if os.name == "posix" and mode & 0o007:
        raise PatternError(f"{path}: everybody on this machine may read the circle's key; `chmod o= {path}`")
    try:
        return Circle.model_validate_json(content)
    except ValidationError as error:
        # Without its cause, which may quote the secret.
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "its beginning"
        raise PatternError(f"{path}: {place}: {fault['msg'].removeprefix('Value error, ')}") from None


def new_circle(name: str, members: Mapping[str, bytes], *, k: int, licence: str, today: date) -> Circle:
    """A circle with a key drawn by chance, good for a quarter; members' keys are good for a year.

    Args:
        name: Of the circle.
        members: Public key of each, in PEM.
        k: Different authors that each value was seen with, at least.
        licence: What receivers may do.
        today: The first day.

    Raises:
        PatternError: A name or a number is none.
    """
    secret = b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    year, week, _ = today.isocalendar()
    try:
        return Circle(
            name=name,
            k=k,
            licence=licence,
            keys=(
                CircleKey(
                    id=f"{year}-w{week:02d}",
                    secret=SecretStr(secret),
                    last_day=today + timedelta(days=_KEY_DAYS),
                ),
            ),
            members={
                member: (MemberKey(public_key=pem.decode(), last_day=today + timedelta(days=_MEMBER_DAYS)),)
                for member, pem in members.items()
            },
        )
    except (ValidationError, UnicodeDecodeError) as error:
        raise PatternError(
            "that describes no circle; names are of small letters, digits, dots and hyphens, and k is 3 or more"
        ) from error
