"""Row facts: what deciding about a row needs to know of it: forms of its text to compare, never the text. Pure."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import orjson

from sluicegate.engines.adapt.data.rows import Row, Split
from sluicegate.schemas import Severity

if TYPE_CHECKING:
    from datetime import datetime


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
    """Every run of so many characters of a bare form; a shorter text is one run."""
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
