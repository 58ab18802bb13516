"""``sluicegate engine verify --live``: a running server, asked whether it keeps what its dialect promises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sluicegate.engines.backends import Backends, open_backends
from sluicegate.engines.backends.promises import Promise, Promises
from sluicegate.pipeline.observe.logs import configure_logs
from sluicegate.pipeline.settings.engine_choice import engine_choices
from sluicegate.pipeline.settings.tree import load_settings

_MARKS = {True: "kept", False: "BROKEN", None: "-"}


@dataclass(frozen=True, slots=True)
class AskedPromise:
    """One promise, of the engine or of one of its adapters."""

    adapter: str | None
    promise: Promise

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"adapter": self.adapter, **asdict(self.promise)}


def ask_server(bundle: Path, settings: Path | None) -> list[AskedPromise]:
    """Ask the server of the settings, and once more by the name of each of their adapters.

    Args:
        bundle: What it serves, in place of ``engine.bundle``.
        settings: YAML file; the environment overrides it.

    Raises:
        SettingsError: They cannot be read.
        EngineError: They name no server, or a bundle cannot be opened.
    """
    engine = load_settings(settings).engine.model_copy(update={"bundle": bundle})
    configure_logs("error")
    return asyncio.run(_ask(open_backends(engine_choices(engine))))


async def _ask(backends: Backends) -> list[AskedPromise]:
    found = []
    for adapter, backend in backends.items():
        one_server = adapter is not None and backend.server == backends[None].server
        promises = Promises(backend, base=backends[None] if one_server else None)
        async with backend.engine:
            found += [AskedPromise(adapter, promise) for promise in await promises.ask()]
    return found


def lines_of(asked: Sequence[AskedPromise]) -> Iterator[str]:
    """A line for each promise, the fix under each that is broken, and the sum."""
    for one in asked:
        promise = one.promise
        name = promise.name if one.adapter is None else f"{one.adapter}: {promise.name}"
        yield f"{_MARKS[promise.kept]:7} {name:10} {promise.said}"
        if promise.kept is False:
            yield f"{'':18} fix: {promise.fix}"
    if asked:
        broken = sum(one.promise.kept is False for one in asked)
        kept = sum(one.promise.kept is True for one in asked)
        yield f"{kept} promises kept, {broken} broken, {len(asked) - kept - broken} not made or not shown"
