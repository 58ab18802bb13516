"""Text of the model to categories, refusal and reason: strict, line by line, total.

The model read hostile text, so its answer is untrusted. Each field is recognised only as
a whole line in its place. The severity is no part of it: it comes from the scores, and no
text can change it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from sluicegate.engines.protocol import Explanation, ItemFailure
from sluicegate.schemas import NO_CATEGORY, FailureCode, Kind
from sluicegate.schemas.assessment import REASON_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Sequence


_SHAPE = re.compile(
    r"\nCategories: (?P<categories>[^\n]+)(?:\nRefusal: (?P<refusal>Yes|No))?(?:\nReason: (?P<reason>[^\n]*))?"
)
PROMPT_ONLY = "Jailbreak"  # an attempt on a model: no response can be one
_MOST_CATEGORIES = 16  # limit of the field in the verdict
_JOINERS = "\u200c\u200d"  # invisible, yet needed by Indic scripts, Persian and emoji


def parse_explanation(text: str, kind: Kind, categories: Sequence[str]) -> Explanation | ItemFailure:
    """Read what the model wrote after the forced label line.

    Expected: a line break, ``Categories: …`` and, each on a line of its own and in this
    order, ``Refusal: Yes|No`` (for responses, and only there) and ``Reason: …`` (optional).
    Nothing else. Total: any text gives an :class:`Explanation` or an :class:`ItemFailure`.

    Args:
        text: What follows the label, without the end token.
        kind: Kind of the post.
        categories: The names the engine may give, ``None`` not among them.
    """
    if not text.strip():
        return ItemFailure(FailureCode.EMPTY_COMPLETION, "nothing after the label")
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return _unparsable("not the expected lines")
    if (kind == "response") != (shape["refusal"] is not None):
        return _unparsable("a Refusal line is for responses, and each of them has one")
    allowed = [name for name in categories if kind != "response" or name != PROMPT_ONLY]
    found = _categories(shape["categories"], allowed)
    if found is None:
        return _unparsable("the Categories line holds something other than known names")
    return Explanation(
        categories=found,
        reason=one_line(shape["reason"] or ""),
        refusal=shape["refusal"] == "Yes" if kind == "response" else None,
    )


def _categories(line: str, allowed: Sequence[str]) -> tuple[str, ...] | None:
    if line == NO_CATEGORY:
        return ()
    names = tuple(dict.fromkeys(line.split(", ")))
    known = len(names) <= _MOST_CATEGORIES and all(name in allowed for name in names)
    return names if known else None


def one_line(text: str) -> str | None:
    """A text as one printable line, at most as long as a reason; None if nothing is left.

    No control, bidirectional or other invisible characters. Doing it twice changes nothing.
    """
    text = text[: 4 * REASON_CHARACTERS]  # bounds the work; far more than survives
    kept = (
        "" if _invisible(c) else " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text
    )
    return " ".join("".join(kept).split())[:REASON_CHARACTERS].rstrip() or None


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cs") and character not in _JOINERS


def _unparsable(detail: str) -> ItemFailure:
    return ItemFailure(FailureCode.UNPARSABLE, detail)
