"""The screen: a light model before the engine. Only ``features`` and ``weights`` need numpy."""

from sluicegate.engines.screen.guard import GUARD, GuardManifest, GuardScreen
from sluicegate.engines.screen.manifest import (
    MANIFEST,
    MOST_CHARACTERS,
    WEIGHTS,
    ScreenGroup,
    ScreenManifest,
    ScreenSource,
    Steps,
    Weights,
    spoken,
)
from sluicegate.engines.screen.model import (
    Screen,
    ScreenAnswer,
    Screener,
    answer_within,
    is_written_in,
    scripts,
)

__all__ = [
    "GUARD",
    "MANIFEST",
    "MOST_CHARACTERS",
    "WEIGHTS",
    "GuardManifest",
    "GuardScreen",
    "Screen",
    "ScreenAnswer",
    "ScreenGroup",
    "ScreenManifest",
    "ScreenSource",
    "Screener",
    "Steps",
    "Weights",
    "answer_within",
    "is_written_in",
    "scripts",
    "spoken",
]
