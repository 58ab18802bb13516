"""The path of a post, from the window to the verdict."""

__all__ = [
    "answers",
    "breaker",
    "first_answers",
    "flow",
    "in_work",
    "once",
    "screening",
    "tried",
    "window",
]
"""Modules that other rooms may import."""
