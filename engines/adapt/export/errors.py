"""What exporting raises."""

from sluicegate.engines.errors import EngineError


class ExportError(EngineError):
    """Nothing is exported. The message names file, field or option, and the fix."""
