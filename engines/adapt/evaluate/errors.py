"""What evaluating raises."""

from sluicegate.engines.errors import EngineError


class EvaluationError(EngineError):
    """Nothing can be evaluated. The message names file or option, and the fix; never a text."""
