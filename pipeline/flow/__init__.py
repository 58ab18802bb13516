"""The path of a post, from the window to the verdict."""

__all__ = ["breaker", "edge", "first_answers", "flow", "once", "screening", "window"]
"""Modules that other rooms may import."""
