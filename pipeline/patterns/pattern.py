"""A pattern, and a feed of them: what leaves a house, and nothing else. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.facts import Line
from sluicegate.schemas import SHARED_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMAT = "sluicegate-patterns/1"
LIFE_DAYS = 30
"""After so many days without a new confirmation a pattern ends."""
MOST_PATTERNS = 100_000
MOST_BYTES = 64 * 2**20
"""Of a feed: 100,000 patterns have 37 MB."""
MOST_VALUES = 12
LEAST_VALUES = 3
MemberName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
KeyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,31}$")]
PatternId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Value = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


def monday(week: str) -> date:
    """The day on which a week begins.

    Raises:
        ValueError: The year has no such week.
    """
    year, number = map(int, week.split("-W"))
    return date.fromisocalendar(year, number, 1)


def _is_week(week: str) -> str:
    monday(week)
    return week


Week = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-W[0-9]{2}$"), AfterValidator(_is_week)]
Category = Annotated[str, StringConstraints(min_length=1, max_length=64)]
FeedDigest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Shared(BaseModel):
    # Nothing else may be in it: what a reader does not know was not looked at before it left.
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pattern(_Shared):
    """A cluster of confirmed copies. It holds no text, no author and no exact count."""

    id: PatternId = Field(description="Drawn by chance when the pattern is first shared.")
    key: KeyName = Field(description="The circle's key that its values are hashed with.")
    values: Annotated[tuple[Value, ...], Field(min_length=LEAST_VALUES, max_length=MOST_VALUES), FailFast()]
    category: Category
    severity: Literal["controversial", "unsafe"]
    languages: Annotated[tuple[str, ...], Field(max_length=8), FailFast()] = ()
    authors: int = Field(ge=1, description="Different authors, with noise; never below the circle's k.")
    first_week: Week
    last_week: Week
    expires_on: date

    @model_validator(mode="after")
    def _says_each_once(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError("a value stands in it twice, and would count twice in a match")
        if self.first_week > self.last_week:
            raise ValueError("first_week is after last_week")
        return self

    @property
    def code(self) -> str:
        """The reason code of a verdict that it raised."""
        return f"{SHARED_PATTERN}{self.id}"


class Revocation(_Shared):
    """A pattern that its origin takes back."""

    id: PatternId
    on: date
    why: Line


class Feed(_Shared):
    """All that one member shares now. A later one, with a higher sequence, takes its place as a whole."""

    format: Literal["sluicegate-patterns/1"] = "sluicegate-patterns/1"
    circle: MemberName
    member: MemberName = Field(description="The origin of all patterns in it.")
    sequence: int = Field(ge=1, le=2**53)
    previous: FeedDigest | None = Field(description="Digest of the feed before; null for the first.")
    made_at: AwareDatetime = Field(description="To the minute.")
    expires_on: date = Field(description="Afterwards nobody may take it in.")
    licence: Line = Field(description="What receivers may do with it, as the circle agreed.")
    k: int = Field(ge=3, description="Each value was seen with so many different authors at least.")
    patterns: Annotated[tuple[Pattern, ...], Field(max_length=MOST_PATTERNS), FailFast()] = ()
    revoked: Annotated[tuple[Revocation, ...], Field(max_length=MOST_PATTERNS), FailFast()] = ()

    def encode(self) -> bytes:
        """The one text that a feed has: it is what is signed."""
        return self.model_dump_json().encode()

    @property
    def digest(self) -> str:
        """Names this feed."""
        return f"sha256:{hashlib.sha256(self.encode()).hexdigest()}"

    @classmethod
    def decode(cls, content: bytes) -> Feed:
        """Read a feed's text.

        Raises:
            PatternError: It is none.
        """
        try:
            if not cls._has_few_fields(content):
                raise ValueError("more than a feed has")  # noqa: TRY301 - one sentence for all faults
            return cls.model_validate_json(content)
        except ValueError as error:
            faults = (
                error.errors(include_input=False) if isinstance(error, ValidationError) else [{"loc": ()}]
            )
            place = ".".join(map(str, faults[0]["loc"]))
            raise PatternError(
                f"it is no feed of patterns that this release knows ({place or 'its beginning'}); ask its sender for {FORMAT}"
            ) from None

    @classmethod
    def _has_few_fields(cls, content: bytes) -> bool:
        """False for what has more fields than a feed: each would be a fault of its own, and a file may hold millions."""
        document = orjson.loads(content)
        if not isinstance(document, dict) or not document.keys() <= cls.model_fields.keys():
            return False
        lists = ((Pattern, document.get("patterns")), (Revocation, document.get("revoked")))
        return all(
            len(one) <= len(kind.model_fields)
            for kind, entries in lists
            if isinstance(entries, list)
            for one in entries
            if isinstance(one, dict)
        )


def week_of(moment: datetime) -> str:
    """The week of a moment, as ISO 8601 numbers them: nothing finer leaves."""
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02d}"


def repeated(ids: Iterable[str]) -> str | None:
    """An id that comes twice; None if none does."""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            return one
        seen.add(one)
    return None


def overlapping(patterns: Sequence[Pattern]) -> tuple[str, str] | None:
    """Ids of two patterns with so many values in common that one post may be a copy of both; None if no two are so."""
    counted = Counter(value for one in patterns for value in one.values)
    # Nearly all values stand in one pattern alone, and these say nothing.
    shared = {one.id: sorted(value for value in one.values if counted[value] > 1) for one in patterns}
    owners = defaultdict[str, list[str]](list)
    for name, values in shared.items():
        for value in values:
            owners[value].append(name)
    for value, names in owners.items():
        beside: dict[str, str] = {}
        for name in names:
            for other in shared[name]:
                if other > value and (known := beside.setdefault(other, name)) != name:
                    return known, name
    return None
