"""The review desk: verdicts become cases, people decide them, and what they decide goes back to Kafka."""

__all__ = ["desk", "serving"]
"""Modules that other rooms may import."""
