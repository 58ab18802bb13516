"""What the adapt rooms raise, and the faults of single rows, which are values."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.engines.errors import EngineError


class PrepareError(EngineError):
    """Nothing can be prepared. The message names the file or the option, and the fix; never a text."""


@dataclass(frozen=True, slots=True)
class RowFault:
    """What is wrong with one row, and what would be right. Only ``value`` holds something of the row."""

    field: str
    wrong: str
    right: str
    value: str | None = None
    """What stands there. May be a text: shown only to who asks for texts."""


@dataclass(frozen=True, slots=True)
class FaultyRow:
    """Where a fault stands."""

    file: str
    line: int
    fault: RowFault

    @property
    def sentence(self) -> str:
        """The fault with its place and its fix; nothing of the row."""
        field = f"{self.fault.field}: " if self.fault.field else ""
        return f"{self.file}:{self.line}: {field}{self.fault.wrong}; {self.fault.right}"


class TrainingError(EngineError):
    """The training cannot start or go on. The message names file or field, and the fix; never a text."""


class EvaluationError(EngineError):
    """Nothing can be evaluated. The message names file or option, and the fix; never a text."""


class CalibrationError(EngineError):
    """Nothing can be calibrated, or written. The message names folder or option, and the fix; never a text."""


class GateError(EngineError):
    """Nothing can be compared. The message names folder, file or option, and the fix; never a text."""


class CycleError(EngineError):
    """The cycle cannot begin or go on. The message names file or field, and the fix; never a text."""


class InterruptedStepError(CycleError):
    """A step of the cycle was ended from outside, by a signal. The same command goes on with it."""
