"""What a calibration raises."""

from sluicegate.engines.errors import EngineError


class CalibrationError(EngineError):
    """Nothing can be calibrated, or written. The message names folder or option, and the fix; never a text."""
