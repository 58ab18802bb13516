"""The shape of an explanation, as a grammar: llama.cpp's GBNF, which is xgrammar's EBNF, too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sluicegate.engines.text.parsing import PROMPT_ONLY
from sluicegate.schemas import NO_CATEGORY, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence


def explanation_grammar(categories: Sequence[str], kind: Kind, *, reasons: bool = False) -> str:
    """Grammar of what follows ``Categories:``: none, or one or two names; then a refusal line for responses.

    Args:
        categories: The names that the engine may give.
        kind: Kind of the post.
        reasons: An explanation that names a category gives a reason, too. It is not left to the model: most of the rows that
            it learns from have none, so that the likeliest end is the one without.
    """
    names = [
        name for name in categories if name != NO_CATEGORY and (kind != "response" or name != PROMPT_ONLY)
    ]
    refusal = ' "\\nRefusal: " ("Yes" | "No")' if kind == "response" else ""
    reason = ' "\\nReason: " [^\\n ] [^\\n]*' if reasons else ""
    return "\n".join(
        (
            f'root ::= " " ({_quoted(NO_CATEGORY)}{refusal} | name (", " name)?{refusal}{reason})',
            f"name ::= {' | '.join(_quoted(name) for name in names)}",
        )
    )


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)  # GBNF escapes quotes and backslashes as JSON does
