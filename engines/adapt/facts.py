"""Facts: what deciding about a row needs to know of it, without its text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import orjson

from sluicegate.engines.adapt.forms import digest, plain_form

if TYPE_CHECKING:
    from datetime import datetime

    from sluicegate.engines.adapt.rows import Row, Split
    from sluicegate.schemas import Severity

_FROM_PLACE = {"id", "split"}
_NOBODYS_OWN = "default"  # what a post is that names no tenant


@dataclass(frozen=True, slots=True)
class Facts:
    """One row, as deciding sees it."""

    rank: bytes
    """Stands for the row's content: the same wherever the row stands, so that order decides nothing."""
    form: bytes
    """Stands for the plain form of the text."""
    setting: bytes
    """Stands for kind, context, tenant and region: what may rightly give one text two labels."""
    number: int
    """Of the bare form, from :class:`~sluicegate.engines.adapt.near_duplicates.NearDuplicates`."""
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
