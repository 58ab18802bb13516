"""What is wrong with a policy file: the place, the fault, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.text import neutral

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACE_CHARACTERS = 200
Where = tuple[str | int, ...]
"""A place in the document: keys and positions, from the top."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a policy document."""

    where: Where
    wrong: str
    right: str
    line: int | None = None
    """From 1; None where the document is no file."""

    @property
    def place(self) -> str:
        """As people write it, such as ``tenants.bank.rules.block_at``. Keys may hold anything: shown, not obeyed."""
        return neutral(dotted(self.where), _PLACE_CHARACTERS)

    def sentence(self, source: str) -> str:
        """The fault as one line, with file and line first."""
        place = source if self.line is None else f"{source}:{self.line}"
        return f"{place}: {self.place or 'policy'}: {self.wrong}; {self.right}"


class InvalidPolicyError(PolicyError):
    """A policy that cannot be used. The message is the first fault, and how many more there are."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))
        more = len(self.faults) - 1
        rest = f" (and {more} more: `sluicegate policy check` lists them)" if more else ""
        super().__init__(self.faults[0].sentence(source) + rest)


def dotted(where: Where) -> str:
    """A place as people write it: ``tenants.bank.rules.block_at``, ``overrides[2].when``."""
    text = ""
    for part in where:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
