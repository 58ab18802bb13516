"""Row: one labelled text, as it is prepared for adaptation and as files carry it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

from sluicegate.schemas._fields import Identifier, Instant, LanguageTag, RegionCode, TenantName, bounded
from sluicegate.schemas.assessment import Categories, Reason, Severity
from sluicegate.schemas.post import Kind, NonEmptyText, Turns

Split = Literal["train", "dev"]

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""Of a source, a licence or a label basis: they stand in tables."""


def _folded(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


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
    source_labels: Annotated[dict[str, Any] | None, bounded(64)] = None
    verdict_id: Identifier | None = None
    """Of a correction: the verdict that was reviewed."""
    blind: bool | None = None
    """Of a correction: made before the reviewer saw the verdict."""
    reviewed_at: Instant | None = None
    """Of a correction: when."""

    @property
    def is_correction(self) -> bool:
        """True for what a reviewer corrected."""
        return self.verdict_id is not None

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
    "source_labels": "write an object with at most 64 entries, or leave it out",
    "verdict_id": "write the id of the verdict that was reviewed",
    "blind": "write true or false",
    "reviewed_at": "write a date and time as in RFC 3339, with an offset",
}
"""What would be right, by field."""

FIELDS = frozenset(Row.model_fields)
MADE_IN_FILE: frozenset[str] = FIELDS - {"verdict_id", "blind", "reviewed_at"}
"""The fields that a file of labelled rows may have; the others come with corrections."""
