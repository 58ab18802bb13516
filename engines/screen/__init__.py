"""The screen: a small guard before the large one. It answers easy posts."""

from sluicegate.engines.screen.answering import (
    MOST_CHARACTERS,
    ScreenAnswer,
    Screener,
    ScreenGroup,
    Steps,
    answer_within,
    is_written_in,
    scripts,
    spoken,
)
from sluicegate.engines.screen.guard import GUARD, GuardManifest, GuardScreen

__all__ = [
    "GUARD",
    "MOST_CHARACTERS",
    "GuardManifest",
    "GuardScreen",
    "ScreenAnswer",
    "ScreenGroup",
    "Screener",
    "Steps",
    "answer_within",
    "is_written_in",
    "scripts",
    "spoken",
]
