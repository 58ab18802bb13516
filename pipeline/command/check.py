"""``sluicegate check``: what is missing, and the command that fixes it."""

from __future__ import annotations

import asyncio
import os
import shlex
from dataclasses import asdict
from pathlib import Path

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.kafka.check.result import Result
from sluicegate.pipeline.text import neutral, neutral_json

_MARKS = {"ok": ("ok", typer.colors.GREEN), "fault": ("FAULT", typer.colors.RED), "unknown": ("-", None)}
_DETAIL_CHARACTERS = 500


def check(as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Look at all that a worker needs, and name for each fault the command that fixes it.

    Settings, broker, topics, rights, group, clocks, bundle, engine, screen, policy. Writes nothing and
    joins no group. Starts the engine to have one post scored. Exit code 1 if anything is wrong.

    Example: sluicegate check --json
    """
    results = _results(settings)
    faults = sum(result.state == "fault" for result in results)
    if as_json:
        document = {"ok": not faults, "results": [asdict(result) for result in results]}
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
        typer.echo("\n".join(map(neutral_json, text.split("\n"))))
    else:
        for result in results:
            _show(result)
        typer.echo(_sum(results))
    if faults:
        raise typer.Exit(1)


def _results(path: Path | None) -> list[Result]:
    from sluicegate.pipeline.command.check_engine import (  # noqa: PLC0415 - the same
        bundle_result,
        engine_result,
        policy_result,
        screen_result,
    )
    from sluicegate.pipeline.kafka.check.cluster import cluster_results  # noqa: PLC0415 - help needs none of these
    from sluicegate.pipeline.kafka.check.cluster_probe import probe_cluster  # noqa: PLC0415 - the same
    from sluicegate.pipeline.kafka.check.result import fault, ok  # noqa: PLC0415 - the same
    from sluicegate.pipeline.observe.logs import configure_logs  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - the same

    option = f" --settings {shlex.quote(str(path))}" if path else ""
    try:
        settings = load_settings(path)
    except SettingsError as error:
        # Without settings there is nothing that could be asked.
        return [
            fault("settings", str(error), f"sluicegate settings docs  # then try: sluicegate check{option}")
        ]
    configure_logs("error")
    judging: list[Result] = []
    judges = settings.worker.role == "judge"
    for adapter in (None, *settings.engine.adapters) if judges else ():
        bundle = bundle_result(settings.engine, adapter)
        judging += [bundle, asyncio.run(engine_result(settings.engine, bundle, adapter))]
    return [
        ok("settings", f"{path or 'defaults and environment'}, digest {settings.digest}"),
        *cluster_results(settings, probe_cluster(settings), option=option),
        *judging,
        *([screen_result(settings.screen)] if settings.screen.path is not None else []),
        policy_result(settings.policy, settings.engine.adapters if judges else None),
    ]


def _sum(results: list[Result]) -> str:
    states = [result.state for result in results]
    if faults := states.count("fault"):
        return f"{faults} fault{'s'[: faults != 1]}"
    return "all is in place, as far as could be asked" if "unknown" in states else "all is in place"


def _show(result: Result) -> None:
    mark, colour = _MARKS[result.state]
    # typer drops colours where there is no terminal; whoever sets NO_COLOR wants none there either.
    shown = mark.ljust(6) if colour is None or os.environ.get("NO_COLOR") else _coloured(mark, colour)
    typer.echo(f"{shown} {result.subject:9} {neutral(result.detail, _DETAIL_CHARACTERS)}")
    if result.fix is not None:
        typer.echo(f"{'':16} fix: {neutral(result.fix, _DETAIL_CHARACTERS)}")


def _coloured(mark: str, colour: str) -> str:
    return typer.style(mark.ljust(6), fg=colour)
