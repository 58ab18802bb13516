"""Foreign text on a terminal: whatever a producer or a model wrote, shown without being obeyed. Pure."""

from __future__ import annotations

import unicodedata

# Control characters drive the terminal; format characters reorder or hide what stands beside
# them; line separators forge lines; surrogates cannot be printed; the rest has no agreed shape.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHOWN_OF_A_MASKED_TEXT = 2
_CUT = "…"


def neutral(text: str, limit: int = 120) -> str:
    """The text on one line, at most this many characters, with everything a terminal may obey as an escape.

    Args:
        text: From anywhere.
        limit: Most characters returned; a longer text ends in an ellipsis.
    """
    shown = "".join(map(_escape, text[: limit + 1]))
    return shown if len(shown) <= limit else shown[: limit - 1] + _CUT


def neutral_json(document: str) -> str:
    r"""JSON with the same characters as ``\uXXXX``: the same document to every parser, inert on a terminal.

    In JSON on one line such characters stand inside strings only, where an escape means the same. Line breaks
    between values would be escaped, too: give each line by itself.
    """
    return "".join(_json_escape(one) if _acts(one) else one for one in document)


def masked(text: str) -> str:
    """A text as its first two characters, dots and its length in characters.

    A text of four characters or fewer shows none.
    """
    first = text[:_SHOWN_OF_A_MASKED_TEXT] if len(text) > 2 * _SHOWN_OF_A_MASKED_TEXT else ""
    return f"{neutral(first)}··· {len(text)}"


def _acts(one: str) -> bool:
    return unicodedata.category(one) in _UNSHOWN


def _escape(one: str) -> str:
    if not _acts(one):
        return one
    number = ord(one)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _json_escape(one: str) -> str:
    # JSON knows UTF-16 code units only.
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
