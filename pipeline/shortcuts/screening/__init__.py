"""The screen at work: before the engine, or in its place at the edge."""

from sluicegate.pipeline.shortcuts.screening.screening import Screening, open_screen

__all__ = ["Screening", "open_screen"]
