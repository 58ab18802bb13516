"""What a screen raises."""

from sluicegate.engines.errors import EngineError


class ScreenError(EngineError):
    """A screen cannot be used, or made. The message says what to make again or to install; never a text."""
