"""The Python client: posts in, verdicts out. Import it from ``sluicegate.client``.

A library in somebody else's process: it logs to the standard ``logging`` (``sluicegate.client``),
starts no process and installs no signal handler.
"""

__all__ = ["client", "consumer", "errors", "producer", "renderings", "threads"]
"""Modules that other rooms may import."""
