"""Rows: labelled texts, as they are prepared and as files carry them, and the facts that deciding about them needs.

The facts hold forms of a text to compare, never the text. Pure.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from sluicegate.schemas._fields import Identifier, Instant, LanguageTag, RegionCode, TenantName, bounded
from sluicegate.schemas.assessment import Categories, Reason, Severity
from sluicegate.schemas.post import Kind, NonEmptyText, Turns

if TYPE_CHECKING:
    from datetime import datetime


Split = Literal["train", "dev"]

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""Of a source, a licence or a label basis: they stand in tables."""


def _folded(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


MOST_REPEAT: Final = 10
"""A row that is shown more often is learnt by heart."""


class Row(BaseModel):
    """One labelled text. Frozen; fields it does not know are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    id: Identifier
    text: NonEmptyText
    kind: Annotated[Kind, BeforeValidator(_folded)]
    context: NonEmptyText | Turns | None = None
    severity: Annotated[Severity, BeforeValidator(_folded)]
    categories: Categories = ()
    refusal: bool | None = None
    reason: Reason | None = None
    language: LanguageTag | None = None
    region: RegionCode | None = None
    tenant: TenantName | None = None
    source: Name
    licence: Name | None = None
    group: Identifier | None = None
    """Rows that belong together, such as translations of one text: all on one side of a split."""
    split: Annotated[Split | None, BeforeValidator(_folded)] = None
    label_basis: Name | None = None
    repeat: Annotated[int, Field(ge=1, le=MOST_REPEAT)] | None = None
    """How often each pass of a training shows it; without it once."""
    source_labels: Annotated[dict[str, Any] | None, bounded(64)] = None
    verdict_id: Identifier | None = None
    """Of a correction: the verdict that was reviewed."""
    blind: bool | None = None
    """Of a correction: made before the reviewer saw the verdict."""
    reviewed_at: Instant | None = None
    """Of a correction: when."""

    @property
    def context_text(self) -> str | None:
        """The context as one text, for comparing."""
        if self.context is None or isinstance(self.context, str):
            return self.context
        return "\n".join(f"{turn.role}: {turn.text}" for turn in self.context)

    def document(self) -> dict[str, Any]:
        """What a line of JSON holds: the fields that are set, in their order."""
        return self.model_dump(mode="json", exclude_none=True)


RIGHT: dict[str, str] = {
    "id": "write 1 to 256 printable characters, or leave it out",
    "text": "write the text to judge",
    "kind": "write post, prompt or response",
    "context": "write a text, or up to 64 turns with role (user or assistant) and text; or leave it out",
    "severity": "write safe, controversial or unsafe",
    "categories": "write up to 16 names of categories; [] where none is known, or none applies",
    "refusal": "write true or false, for responses only",
    "reason": "write at most 400 characters, or leave it out",
    "language": "write a tag such as en or zh-Hant, or leave it out",
    "region": "write a code such as DE or US-CA, or leave it out",
    "tenant": "write up to 64 of A-Z a-z 0-9 . _ -, or leave it out",
    "source": "write 1 to 120 printable characters, or leave it out",
    "licence": "write a name such as MIT, or leave it out",
    "group": "write 1 to 256 printable characters, or leave it out",
    "split": "write train or dev, or leave it out; texts of a test set never belong here",
    "label_basis": "write 1 to 120 printable characters, or leave it out",
    "repeat": "write a whole number from 1 to 10, or leave it out",
    "source_labels": "write an object with at most 64 entries, or leave it out",
    "verdict_id": "write the id of the verdict that was reviewed",
    "blind": "write true or false",
    "reviewed_at": "write a date and time as in RFC 3339, with an offset",
}
"""What would be right, by field."""

FIELDS = frozenset(Row.model_fields)
CORRECTION: frozenset[str] = frozenset({"verdict_id", "blind", "reviewed_at"})
"""What makes a row a correction: all of them together, or it is none."""
MADE_IN_FILE: frozenset[str] = FIELDS - CORRECTION
"""The fields that a file of labelled rows may have; the others come with corrections."""


_LETTERS = 5
"""Width of a shingle in letters: one English word changed among fourteen leaves a similarity of 0.7."""
_IDEOGRAPHS = 3
"""The same where a character is a word or a syllable: Chinese, Japanese, Korean."""
_DIGEST_BYTES = 16
_FROM_PLACE = {"id", "split"}
_NOBODYS_OWN = "default"  # what a post is that names no tenant


def plain_form(text: str) -> str:
    """NFKC, case folded, spaces collapsed: texts that differ in these alone are the same text."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def bare_form(text: str) -> str:
    """The plain form's letters, marks and numbers alone.

    Spaces, punctuation, emoji and invisible characters are what near copies are padded with. A text
    that has nothing else keeps its plain form.
    """
    plain = plain_form(text)
    return "".join(one for one in plain if unicodedata.category(one)[0] in "LMN") or plain


def shingles(bare: str) -> set[str]:
    """Every run of this many characters of a bare form; a shorter text is one run."""
    width = _IDEOGRAPHS if 2 * sum(map(_is_wide, bare)) > len(bare) else _LETTERS
    return {bare[at : at + width] for at in range(max(1, len(bare) - width + 1))}


def digest(*parts: str | None) -> bytes:
    """Sixteen bytes that stand for these parts; no choice of values moves a character between them."""
    hashed = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        # A surrogate never gets here: JSON and CSV are read as UTF-8.
        encoded = b"" if part is None else part.encode()
        hashed.update(f"{'-' if part is None else len(encoded)}:".encode())
        hashed.update(encoded)
    return hashed.digest()


def _is_wide(one: str) -> bool:
    return unicodedata.east_asian_width(one) in "WF"


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row, as deciding sees it."""

    rank: bytes
    """Stands for the row's content: the same wherever the row stands, so that order decides nothing."""
    form: bytes
    """Stands for the plain form of the text."""
    setting: bytes
    """Stands for kind, context, tenant and region: what may rightly give one text two labels."""
    number: int
    """Of the bare form, from :class:`~sluicegate.engines.adapt.data.near_duplicates.NearDuplicateIndex`."""
    severity: Severity
    language: str | None = None
    split: Split | None = None
    group: str | None = None
    verdict_id: str | None = None
    reviewed_at: datetime | None = None

    @classmethod
    def of(cls, row: Row, number: int) -> Self:
        """The facts of a row.

        Args:
            row: The row, as it will be written.
            number: Of its bare form.
        """
        content = orjson.dumps(row.model_dump(mode="json", exclude=_FROM_PLACE), option=orjson.OPT_SORT_KEYS)
        context = None if row.context_text is None else plain_form(row.context_text)
        return cls(
            rank=digest(content.decode()),
            form=digest(plain_form(row.text)),
            setting=digest(row.kind, context, row.tenant or _NOBODYS_OWN, row.region),
            number=number,
            severity=row.severity,
            language=row.language,
            split=row.split,
            group=row.group,
            verdict_id=row.verdict_id,
            reviewed_at=row.reviewed_at,
        )

    @property
    def case(self) -> bytes:
        """What can have one label only: this text in this setting."""
        return self.form + self.setting
