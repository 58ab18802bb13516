"""Reuse of near duplicates: a text that differs from a judged one in nothing that could carry meaning."""

from sluicegate.pipeline.shortcuts.near_duplicates.reuse import NearDuplicates

__all__ = ["NearDuplicates"]
