"""What training raises."""

from sluicegate.engines.errors import EngineError


class TrainingError(EngineError):
    """The training cannot start or go on. The message names file or field, and the fix; never a text."""
