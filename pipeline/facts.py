"""Facts: what workers and people tell one another of breakers, switches and servers, and what follows of it. Pure.

A breaker of a tenant and a policy opens and is reset in turns. Each turn has a number, its
generation: a reset begins the next one, and a trip belongs to the one that it happened in. So what
is known is the greatest (generation, open), whatever order the facts arrive in and however often: a
worker that was cut off and tells of an old trip after the reset changes nothing. Every fact has a
key of its own, so that a compacted topic keeps them all.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Generic, Literal, Protocol, Self, TypeVar

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
from sluicegate.pipeline.text import neutral

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OTHERS = "*"
"""Stands for all tenants that a worker has no room to count one by one. No tenant is called so."""

_MOST_BYTES = 4096
LAST_GENERATION = 2**31
"""In which a breaker may open, and be reset once more. People reset breakers: a greater number is nobody's."""
LINE = 200
DEATH_PROMPTS = 40
"""So many names fit into a record."""
DEATH_PLACES = 256
POISON_PLACES = 1024
"""As many as a worker remembers."""


def _inert(text: str) -> str:
    if neutral(text, LINE) != text:
        raise ValueError("has characters that a terminal or a log may obey")
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=LINE), AfterValidator(_inert)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Whose = TenantName | Literal["*"]
Place = tuple[str, ...]
"""What a fact is about, such as a tenant and a policy digest."""


class BaseFact(BaseModel):
    """What a fact of any kind says. Fields that a newer version adds are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    kind: str
    state: Literal["open", "closed"]
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
        """What opened."""
        raise NotImplementedError

    @property
    def key(self) -> bytes:
        """The record's key on the control topic."""
        return f"{self.kind} {' '.join(self.place)} {self.generation} {self.state}".encode()

    @property
    def rank(self) -> tuple[int, bool]:
        """The greater of two facts on one breaker counts."""
        return self.generation, self.state == "open"

    def encode(self) -> bytes:
        """The record's value."""
        return self.model_dump_json().encode()


class BreakerFact(BaseFact):
    """One fact: a block-volume breaker opened, or was reset."""

    kind: Literal["block-breaker"] = "block-breaker"
    tenant: Whose
    policy: Digest

    @property
    def place(self) -> Place:
        """Whose breaker, under which policy."""
        return self.tenant, self.policy


class ScreenFact(BaseFact):
    """One fact: a screen was switched off because it was wrong too often, or may answer again."""

    kind: Literal["screen"] = "screen"
    screen: Digest = Field(description="Its digest.")

    @property
    def place(self) -> Place:
        """Which screen."""
        return (self.screen,)


class Poison(BaseFact):
    """One fact: a prompt ended an engine, or seems to. It holds for ten minutes."""

    kind: Literal["poison"] = "poison"
    prompt: Digest = Field(
        description="Hash of the call and of the prompt's key in the cache; never its text."
    )

    certain: bool = Field(
        True, description="False if nobody can tell: the prompt waits, and is not taken for poison."
    )

    @property
    def place(self) -> Place:
        """One of a few places, so that a compacted topic does not keep every prompt for ever."""
        return (str(int(self.prompt[-4:], 16) % POISON_PLACES),)


class Death(BaseFact):
    """One fact: an engine ended with these prompts in its work, be they guilty or not."""

    kind: Literal["engine-death"] = "engine-death"
    death: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")] = Field(description="Its name.")
    part: Annotated[int, Field(ge=0, le=LAST_GENERATION)] = 0
    prompts: Annotated[tuple[Digest, ...], Field(strict=False, max_length=DEATH_PROMPTS)]

    @property
    def place(self) -> Place:
        """One of a few places, as for :class:`Poison`."""
        return (str((int(self.death, 16) + self.part) % DEATH_PLACES),)


class Lease(BaseFact):
    """One fact: a worker asks a shared server about its suspects, and the others wait; or it is done."""

    kind: Literal["engine-lease"] = "engine-lease"
    server: Digest = Field(description="Hash of the server's address.")
    holder: Line = Field(description="The worker's process.")

    @property
    def place(self) -> Place:
        """Which server."""
        return (self.server,)

    @property
    def key(self) -> bytes:
        """One for all facts on a server: only the newest counts, and all workers read them in one order."""
        return f"{self.kind} {self.server}".encode()


Fact = BreakerFact | ScreenFact | Poison | Death | Lease
_KINDS: dict[str, type[Fact]] = {
    "block-breaker": BreakerFact,
    "screen": ScreenFact,
    "poison": Poison,
    "engine-death": Death,
    "engine-lease": Lease,
}


def read_fact(key: bytes | None, value: bytes) -> Fact | None:
    """Read a record of the control topic; None for a record of another kind.

    Raises:
        ValueError: It claims to be a fact and is none, or no JSON object at all.
    """
    if len(value) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    document = orjson.loads(value)
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 - what is wrong is the record, not a caller's type
    kind = document.get("kind")
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return None
    fact = model.model_validate_json(value)
    if fact.key != key:
        raise ValueError("stands under the key of something else")
    return fact


T = TypeVar("T", bound=BaseFact)


class Learner(Protocol[T]):
    """What learns of facts of one kind, and announces its own."""

    def announce_to(self, announce: Callable[[T], None], /) -> None:
        """Tell each fact that arises here to others."""
        ...

    @property
    def newest(self) -> list[T]:
        """The newest fact on everything that one is known of."""
        ...

    def learn(self, facts: Iterable[T], /) -> int:
        """Take in what others tell; how many of it there was no room for."""
        ...

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget facts of the control topic."""
        ...


class Lockable(Learner[T], Protocol[T]):
    """A learner that may not act while it does not know what others told."""

    def follow(self, *, followed: bool) -> None:
        """Note whether what others tell is heard."""
        ...


class ServerFacts(Protocol):
    """What learns of deaths, poison prompts and leases of engines' servers, and announces its own."""

    def announce_to(self, announce: Callable[[Fact], None]) -> None:
        """Tell facts that arise here, from now on and before, to others."""
        ...

    def learn(self, facts: Iterable[Poison | Death | Lease]) -> None:
        """Take in what others tell."""
        ...

    def follow(self, *, followed: bool) -> None:
        """Note whether what others tell is heard."""
        ...


class Facts(Generic[T]):
    """Everything that is known of breakers, or of switches."""

    def __init__(self) -> None:
        self._facts: dict[bytes, T] = {}
        self._at: defaultdict[Place, dict[bytes, T]] = defaultdict(dict)
        self._newest: dict[Place, T] = {}

    def __iter__(self) -> Iterator[T]:
        """The newest fact on every breaker that one is known of."""
        return iter(self._newest.values())

    def __len__(self) -> int:
        """Facts known."""
        return len(self._facts)

    def of(self, place: Place) -> list[T]:
        """Every fact on one breaker, oldest first."""
        return sorted(self._at[place].values() if place in self._at else (), key=lambda one: one.rank)

    def newest(self, place: Place) -> T | None:
        """The newest fact on one breaker."""
        return self._newest.get(place)

    def add(self, trip: T) -> bool:
        """Take a fact in; True if it changes what is known of its breaker."""
        if trip.key in self._facts:
            return False
        self._facts[trip.key] = self._at[trip.place][trip.key] = trip
        newest = self._newest.get(trip.place)
        if newest is not None and newest.rank > trip.rank:
            return False
        self._newest[trip.place] = trip
        return True

    def learn(self, facts: Iterable[T], *, most: int) -> tuple[list[Place], int]:
        """Take in what others tell, up to a number of facts: where that changes what is known, and how many had no room."""
        changed: list[Place] = []
        refused = 0
        for fact in facts:
            newest = self.newest(fact.place)
            if len(self) >= most and newest is not None and fact.rank > newest.rank:
                self.remove(newest.key)  # a reset is always heard
            if len(self) >= most:
                refused += 1
            elif self.add(fact):
                changed.append(fact.place)
        return changed, refused

    def remove(self, key: bytes) -> Place | None:
        """Forget the fact under a key, as a tombstone asks; the breaker, if that changes what is known of it."""
        gone = self._facts.pop(key, None)
        if gone is None:
            return None
        del self._at[gone.place][key]
        if not self._at[gone.place]:
            del self._at[gone.place]
        if self._newest[gone.place] is not gone:
            return None
        left = self.of(gone.place)
        if left:
            self._newest[gone.place] = left[-1]
        else:
            del self._newest[gone.place]
        return gone.place
