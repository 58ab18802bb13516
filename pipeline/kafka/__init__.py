"""Kafka: records in, records out, topics and clients."""

__all__ = [
    "check",
    "embedded",
    "incoming",
    "member",
    "producer",
    "publisher",
    "reader",
    "source",
    "tail",
    "topics",
]
"""Modules that other rooms may import."""
