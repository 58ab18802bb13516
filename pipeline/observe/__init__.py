"""What people and programs see of a worker: metrics, logs, traces, holds, the ops port."""

__all__ = ["holds", "instruments", "lag", "logs", "metrics", "server"]
"""Modules that other rooms may import."""
