"""Facts that workers share, and the topic that carries them."""

__all__ = ["topic"]
"""Modules that other rooms may import."""
