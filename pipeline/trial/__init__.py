"""Whole systems run from outside: the demo, the bench, sample posts."""

__all__ = ["bench", "demo", "samples"]
"""Modules that other rooms may import."""
