"""The seven shapes of a conversation that a guard's chat template is rendered for, and how long each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluicegate.engines.layouts import _render

if TYPE_CHECKING:
    from sluicegate.engines.bundle.tokenizer import TextTokenizer

SHAPES: Final = {
    "user": ("user",),
    "user, assistant": ("user", "assistant"),
    "user, assistant, user": ("user", "assistant", "user"),
    "user, assistant, user, assistant": ("user", "assistant", "user", "assistant"),
    "system, user": ("system", "user"),
    "assistant, user": ("assistant", "user"),
    "user, system": ("user", "system"),
}
EXPECTED: Final = {"user": (201, (297,)), "user, assistant": (267, (391, 392))}
"""Tokens before the first content, and all but the contents, as published for the two plain shapes."""
_SAID = "Hello"


@dataclass(frozen=True, slots=True)
class Length:
    """One shape's length in tokens."""

    before: int
    """Up to the first content."""
    own: int
    """All but the contents."""


def shape_lengths(template: str, tokenizer: TextTokenizer) -> dict[str, Length]:
    """Length of each shape."""
    return {name: _length(template, tokenizer, roles) for name, roles in SHAPES.items()}


def _length(template: str, tokenizer: TextTokenizer, roles: tuple[str, ...]) -> Length:
    text = _render(template, [{"role": role, "content": _SAID} for role in roles])
    said = tokenizer.encode_text(f" {_SAID}")
    before, found, after = text.partition(f" {_SAID}")
    if not found:
        raise ValueError(f"a conversation of {', '.join(roles)} is rendered without its content")
    start = len(tokenizer.encode_static(before))
    contents = 1 + after.count(_SAID)
    return Length(start, len(tokenizer.encode_static(text)) - contents * len(said))
