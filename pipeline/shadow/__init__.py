"""A candidate beside the incumbent: which posts both judge, how their verdicts compare, what may follow, and who acts."""

__all__ = ["ledger", "standing"]
"""Modules that other rooms may import."""
