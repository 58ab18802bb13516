"""Sluicegate: content moderation as a stream.

The rooms are :mod:`sluicegate.schemas` (event contracts), :mod:`sluicegate.engines`
(text to assessment) and :mod:`sluicegate.pipeline` (Kafka to engine to Kafka).
"""

__version__ = "0.1.0"
