"""Where each setting's value comes from: default, file or environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic_settings import EnvSettingsSource

from sluicegate.pipeline.settings.tree import Settings, load_settings, read_tree, variable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Origin = Literal["default", "file", "environment"]


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as a worker would use it."""

    name: str
    """Dotted, such as ``kafka.group``."""
    value: Any
    """As a JSON value; a secret is stars."""
    origin: Origin
    where: str | None
    """The file, or the variable; None for a default."""


def effective_settings(path: Path | None) -> tuple[Settings, list[EffectiveSetting]]:
    """Load the settings and say for each where its value comes from.

    Raises:
        SettingsError: As :func:`~sluicegate.pipeline.settings.tree.load_settings`.
    """
    settings, written = load_settings(path), read_tree(path)
    environment: dict[str, Any] = EnvSettingsSource(Settings)()
    found = []
    for names, value in _leaves(settings.masked()):
        origin: Origin = "default"
        where: str | None = None
        if _has(environment, names):
            origin, where = "environment", _set_variable(names)
        elif _has(written, names):
            origin, where = "file", str(path)
        found.append(EffectiveSetting(".".join(names), value, origin, where))
    return settings, found


def _leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _has(tree: Any, names: tuple[str, ...]) -> bool:
    for name in names:
        if not isinstance(tree, dict) or name not in tree:
            return False
        tree = tree[name]
    return True


def _set_variable(names: tuple[str, ...]) -> str:
    """The variable that sets this: its own, or one that holds a whole section as JSON."""
    candidates = [variable(*names[:length]) for length in range(len(names), 0, -1)]
    return next((one for one in candidates if os.environ.get(one)), candidates[0])
