"""Field types that several events share, with their limits.

A limit here is part of the contract: it moves in neither direction within a major
version, so that old readers read new records and new readers read old ones.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

# Identifiers travel into Kafka keys, headers, log lines and file names: no control
# characters (C0, DEL, C1), no line or paragraph separators, nothing that reorders text
# (bidirectional marks, embeddings, overrides, isolates), no zero width space, word joiner,
# invisible operator or byte order mark. docs/contract.md lists the same, and a test compares
# them. Ids with any other character were valid from the first release, so they stay valid:
# joiners, which Persian, Indic scripts and emoji need, and also fillers and blanks.
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]+$"

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PRINTABLE)]
"""A producer's own name for something: 1 to 256 characters, none of those that the contract lists."""

REFUSED = "It holds none of the control and format characters that docs/contract.md lists."

TenantName = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A tenant: also a metric label and a policy key, hence the narrow alphabet."""

LanguageTag = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
"""A language tag in the shape of BCP 47, such as ``en`` or ``zh-Hant``. It enters the prompt."""

RegionCode = Annotated[str, StringConstraints(max_length=6, pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
"""A region in the shape of ISO 3166, such as ``DE`` or ``US-CA``. It enters the prompt."""

Digest = Annotated[str, StringConstraints(max_length=80, pattern=r"^[a-z0-9]+:[0-9a-f]{8,64}$")]
"""Algorithm and hexadecimal digest, such as ``sha256:9f2c…``."""

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PRINTABLE)]
MetadataNumber = Annotated[float, Field(allow_inf_nan=False)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)] | bool | int | MetadataNumber | None


def bounded(limit: int) -> BeforeValidator:
    """Refuse a longer list or object before its entries are looked at.

    pydantic checks every entry of a collection and writes an error for each: a record of
    256 KiB can hold 80,000 bad entries, which took 0.35 s in the worker's event loop.
    """

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple | dict) and len(value) > limit:
            raise PydanticCustomError("too_long", "at most {limit} entries", {"limit": limit})
        return value

    return BeforeValidator(check)


Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=32), bounded(32)]
"""Up to 32 flat entries. Nesting is refused: nothing in it could be bounded."""

_RFC_3339 = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)

_written = re.compile(_RFC_3339).fullmatch


def _written_out(value: Any) -> Any:
    # Left to itself pydantic reads numbers as seconds or milliseconds, by their size.
    if isinstance(value, datetime) or (isinstance(value, str) and _written(value)):
        return value
    raise PydanticCustomError("date_time", "a date and time as in RFC 3339, with an offset")


Instant = Annotated[
    AwareDatetime,
    Field(strict=False, json_schema_extra={"pattern": _RFC_3339}),
    BeforeValidator(_written_out),
]
"""A moment as RFC 3339 writes it, with an offset. Finer than microseconds is cut; no leap seconds."""

Probability = Annotated[float, Field(ge=0, le=1)]

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A reason code in an open set: readers must accept codes that they do not know."""


LEFT_TO_RIGHT: Any = Field(union_mode="left_to_right")
"""A code that is known is read as its member; only the others stay text."""


def open_set(codes: type[StrEnum]) -> WithJsonSchema:
    """JSON Schema of an open set: any code is valid, those of today are named."""
    return WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[a-z][a-z0-9_]{0,63}$",
            "description": f"An open set; today: {', '.join(codes)}.",
        }
    )


class Event(BaseModel):
    """Base of every record: frozen, strictly typed, tolerant of unknown fields."""

    # A producer logs the ValidationError of a post that it made: the message must not repeat the text.
    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", ser_json_inf_nan="null", hide_input_in_errors=True
    )
