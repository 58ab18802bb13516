"""Settings: parsed, validated, frozen; where each value comes from; the page about them."""

__all__ = ["engine_choice", "page", "sections", "tree"]
"""Modules that other rooms may import."""
