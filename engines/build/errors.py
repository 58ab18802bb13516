"""What building raises."""

from sluicegate.engines.errors import EngineError


class BuildError(EngineError):
    """Nothing is built, or no further. The message names field, file or stage, and the fix."""
