"""A candidate beside the incumbent: which posts both judge, how their verdicts compare, what may follow, and who acts."""

__all__ = [
    "comparator",
    "counting",
    "ledger",
    "records",
    "report",
    "reviews",
    "sample",
    "serving",
    "standing",
    "summary",
    "worker",
]
"""Modules that other rooms may import."""
