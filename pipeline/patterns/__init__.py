"""Threat patterns shared between institutions: made of what people confirmed, without anybody's text."""

__all__ = [
    "circle",
    "feed",
    "folder",
    "formats",
    "masking",
    "matcher",
    "mining",
    "pattern",
    "risk",
    "sharing",
    "sketch",
    "standing",
]
"""Modules that other rooms may import."""
