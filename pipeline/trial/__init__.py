"""Whole systems run from outside: the demo, the bench, sample posts."""

__all__ = ["bench", "demo", "samples", "terminal_line"]
"""Modules that other rooms may import."""
