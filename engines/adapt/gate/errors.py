"""What the gate raises."""

from sluicegate.engines.errors import EngineError


class GateError(EngineError):
    """Nothing can be compared. The message names folder, file or option, and the fix; never a text."""
