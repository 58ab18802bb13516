"""Everything that engines raise. What fails for one item is a value: :class:`~sluicegate.engines.protocol.ItemFailure`."""

from __future__ import annotations


class EngineError(Exception):
    """Base of all engine errors."""

    retriable = False
    """True if the same call may succeed later without anybody changing anything."""


class EngineUnavailable(EngineError):  # noqa: N818 - a state that is waited out, not a fault
    """The engine is away: refused, reset, restarting, overloaded. The stream holds and tries again.

    Args:
        message: Why, for people.
        refused: True if it took nothing: nobody listens, or it is there and takes no call just now. That says
            nothing of the prompts.
    """

    retriable = True

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class BundleError(EngineError):
    """A bundle is incomplete, changed or of the wrong kind. The message names file and field, and the fix."""


class EngineSetupError(EngineError):
    """The engine cannot be started as configured. The message says what to install or to set."""


class ScreenError(EngineError):
    """A screen cannot be used, or made. The message says what to make again or to install; never a text."""


class BuildError(EngineError):
    """Nothing is built, or no further. The message names field, file or stage, and the fix."""


class ExportError(EngineError):
    """Nothing is exported. The message names file, field or option, and the fix."""
