"""What one stage of folding answers."""

from __future__ import annotations

from typing import TypeAlias

Result: TypeAlias = tuple[str, frozenset[str]]
"""The text, and the rules that fired."""

NOTHING: frozenset[str] = frozenset()
"""No rule fired."""
