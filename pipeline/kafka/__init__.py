"""Kafka: records in, records out, topics and clients."""

__all__ = [
    "check",
    "embedded",
    "member",
    "producer",
    "publisher",
    "reader",
    "resumed",
    "source",
    "topics",
]
"""Modules that other rooms may import."""
