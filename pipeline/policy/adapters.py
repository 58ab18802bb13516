"""Adapters that a policy names: they must be in the settings, which say where each is served. Pure."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from sluicegate.pipeline.policy.faults import Fault, InvalidPolicyError
from sluicegate.pipeline.policy.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Collection


_PATH = ("adapter",)


def require_adapters(policy: Policy, known: Collection[str], source: str) -> None:
    """Refuse a policy that names an adapter which is not there: its posts must not get another one's verdict.

    Args:
        policy: As it was read.
        known: Names of ``engine.adapters`` in the settings.
        source: The file, for faults.

    Raises:
        InvalidPolicyError: With every place that names one, and its line.
    """
    faults = [
        Fault(
            where := (*layer.where, *_PATH),
            f"the settings have no adapter `{name}`",
            _right(name, known),
            policy.written.line(where),
        )
        for layer in policy.layers
        if (name := layer.values.get(_PATH)) is not None and name not in known
    ]
    if faults:
        raise InvalidPolicyError(source, faults)


def _right(name: str, known: Collection[str]) -> str:
    if close := get_close_matches(name, known, n=1):
        return f"did you mean `{close[0]}`? else say under engine.adapters.{name} where it is served"
    there = f"there are {', '.join(sorted(known))}" if known else "there are none"
    return f"say under engine.adapters.{name} where it is served; {there}"
