"""Trips: what workers and people tell one another of block-volume breakers, and what follows from all of it. Pure.

A breaker of a tenant and a policy opens and is reset in turns. Each turn has a number, its
generation: a reset begins the next one, and a trip belongs to the one that it happened in. So what
is known is the greatest (generation, open), whatever order the facts arrive in and however often: a
worker that was cut off and tells of an old trip after the reset changes nothing. Every fact has a
key of its own, so that a compacted topic keeps them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from sluicegate.pipeline.policy.document import TenantName
from sluicegate.pipeline.printable import neutral

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHERS = "*"
"""Stands for all tenants that a worker has no room to count one by one. No tenant is called so."""

_KIND: Literal["block-breaker"] = "block-breaker"
_MOST_BYTES = 4096
LAST_GENERATION = 2**31
"""In which a breaker may open, and be reset once more. People reset breakers: a greater number is nobody's."""
LINE = 200


def _inert(text: str) -> str:
    if neutral(text, LINE) != text:
        raise ValueError("has characters that a terminal or a log may obey")
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=LINE), AfterValidator(_inert)]
PolicyDigest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Whose = TenantName | Literal["*"]
Place = tuple[str, str]
"""Tenant and policy digest."""


class Trip(BaseModel):
    """One fact: a breaker opened, or was reset. Fields that a newer version adds are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    kind: Literal["block-breaker"] = _KIND
    state: Literal["open", "closed"]
    tenant: Whose
    policy: PolicyDigest
    generation: Annotated[int, Field(ge=0, le=LAST_GENERATION + 1)]
    at: Annotated[AwareDatetime, Field(strict=False)]
    by: Line = Field(description="The worker's host, or who reset it.")
    why: Line

    @model_validator(mode="after")
    def _can_be_reset(self) -> Self:
        if self.state == "open" and self.generation > LAST_GENERATION:
            raise ValueError("opened in a generation that no reset can follow")
        return self

    @property
    def place(self) -> Place:
        """Whose breaker, under which policy."""
        return self.tenant, self.policy

    @property
    def key(self) -> bytes:
        """The record's key on the control topic."""
        return f"{_KIND} {self.tenant} {self.policy} {self.generation} {self.state}".encode()

    @property
    def rank(self) -> tuple[int, bool]:
        """The greater of two facts on one breaker counts."""
        return self.generation, self.state == "open"

    def encode(self) -> bytes:
        """The record's value."""
        return self.model_dump_json().encode()


def read_trip(key: bytes | None, value: bytes) -> Trip | None:
    """Read a record of the control topic; None for a record of another kind.

    Raises:
        ValueError: It claims to be a fact on a breaker and is none, or no JSON object at all.
    """
    if len(value) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    document = orjson.loads(value)
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 - what is wrong is the record, not a caller's type
    if document.get("kind") != _KIND:
        return None
    trip = Trip.model_validate_json(value)
    if trip.key != key:
        raise ValueError("stands under the key of something else")
    return trip


class Trips:
    """Everything that is known of breakers."""

    def __init__(self) -> None:
        self._facts: dict[bytes, Trip] = {}
        self._newest: dict[Place, Trip] = {}

    def __iter__(self) -> Iterator[Trip]:
        """The newest fact on every breaker that one is known of."""
        return iter(self._newest.values())

    def __len__(self) -> int:
        """Facts known."""
        return len(self._facts)

    def of(self, place: Place) -> list[Trip]:
        """Every fact on one breaker, oldest first."""
        return sorted((one for one in self._facts.values() if one.place == place), key=lambda one: one.rank)

    def newest(self, place: Place) -> Trip | None:
        """The newest fact on one breaker."""
        return self._newest.get(place)

    def add(self, trip: Trip) -> bool:
        """Take a fact in; True if it changes what is known of its breaker."""
        if trip.key in self._facts:
            return False
        self._facts[trip.key] = trip
        newest = self._newest.get(trip.place)
        if newest is not None and newest.rank > trip.rank:
            return False
        self._newest[trip.place] = trip
        return True

    def remove(self, key: bytes) -> Place | None:
        """Forget the fact under a key, as a tombstone asks; the breaker, if that changes what is known of it."""
        gone = self._facts.pop(key, None)
        if gone is None or self._newest[gone.place] is not gone:
            return None
        left = self.of(gone.place)
        if left:
            self._newest[gone.place] = left[-1]
        else:
            del self._newest[gone.place]
        return gone.place
