"""Where each setting's value comes from: default, file or environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic_settings import EnvSettingsSource

from sluicegate.pipeline.settings import Settings, load_settings, read_tree, variable

if TYPE_CHECKING:
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
        SettingsError: As :func:`~sluicegate.pipeline.settings.load_settings`.
    """
    settings, written = load_settings(path), read_tree(path)
    environment: dict[str, Any] = EnvSettingsSource(Settings)()
    found = []
    for section, values in settings.masked().items():
        for name, value in values.items():
            origin: Origin = "default"
            where: str | None = None
            if name in _mapping(environment, section):
                # A whole section may stand in one variable, as JSON.
                one = variable(section, name)
                origin, where = "environment", one if os.environ.get(one) else one.rsplit("__", 1)[0]
            elif name in _mapping(written, section):
                origin, where = "file", str(path)
            found.append(EffectiveSetting(f"{section}.{name}", value, origin, where))
    return settings, found


def _mapping(tree: dict[str, Any], section: str) -> dict[str, Any]:
    inner = tree.get(section)
    return inner if isinstance(inner, dict) else {}
