"""Answers without the engine: caches, near duplicates, the screen and its switch."""

__all__ = ["cache", "near_duplicates", "redis_cache", "screening", "switch"]
"""Modules that other rooms may import."""
