"""The shape of an explanation as a regular expression, for guided decoding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sluicegate.engines.text.parsing import PROMPT_ONLY
from sluicegate.schemas import NO_CATEGORY, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence


_ACTIVE = re.compile(r"([.^$*+?{}\[\]\\|()])")


def explanation_regex(kind: Kind, categories: Sequence[str], *, reasons: bool = False) -> str:
    """What may follow ``Categories:``, as :func:`~sluicegate.engines.text.parsing.parse_explanation` takes it.

    Only groups, alternatives, ``?``, ``*`` and one negated class: what every engine for regular
    expressions has. A category may be named twice, which the parser forgives.

    Args:
        kind: Kind of the post: a response has a refusal line and no category of prompts.
        categories: The names that the engine may give.
        reasons: Whoever names a category gives a reason, too; else it is left to the model.
    """
    allowed = [name for name in categories if kind != "response" or name != PROMPT_ONLY]
    name = "(" + "|".join(_ACTIVE.sub(r"\\\1", each) for each in allowed) + ")"
    refusal = r"\nRefusal: (Yes|No)" if kind == "response" else ""
    if reasons:
        return rf" ({NO_CATEGORY}{refusal}|{name}(, {name})*{refusal}\nReason: [^\n ][^\n]*)"
    return rf" ({NO_CATEGORY}|{name}(, {name})*){refusal}(\nReason: [^\n]*)?"
