"""Lazy: a group of commands each of which is imported when somebody names it."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import Any, Final

import typer
import typer.main
from typer.core import TyperGroup

COMMANDS: Final = {
    "demo": "demo:demo",
    "worker": "worker:worker",
    "post": "post:post",
    "judge": "judge:judge",
    "check": "check:check",
    "verdicts": "verdicts:verdicts",
    "bench": "bench:bench",
    "trace": "adapt.data:trace",
    "breaker": "breaker:app",
    "deadletter": "deadletter:app",
    "topics": "topics:app",
    "engine": "engine.bundles:app",
    "adapt": "adapt.prepare:app",
    "data": "adapt.data:app",
    "patterns": "patterns:app",
    "policy": "policy:app",
    "review": "review:app",
    "screen": "screen:app",
    "shadow": "shadow:app",
    "candidate": "candidate:app",
    "schema": "schema:app",
    "settings": "settings:app",
}
"""Where each command is: a module of this folder, and a function or a group in it. Help lists them in this order."""


class LazyCommands(UserDict[str, Any]):
    """Commands by name. Reading one imports it; asking for the names imports none."""

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = _load(name, found)
        return found


class LazyGroup(TyperGroup):
    """The commands of ``sluicegate``."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = LazyCommands(COMMANDS)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Names alone: nothing is imported for them."""
        return list(self.commands)


def _load(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"sluicegate.pipeline.command.{module}"), attribute)
    alone = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]
