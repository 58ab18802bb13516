"""``sluicegate demo``: the whole path on this machine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, CpuModelChoice, LocalEngine, require_cpu_model
from sluicegate.pipeline.errors import DemoError
from sluicegate.pipeline.text import neutral
from sluicegate.pipeline.trial.demo.tally import Snapshot

if TYPE_CHECKING:
    from collections.abc import Coroutine

_NAMED = 10  # of the records that were lost or came twice


def demo(  # noqa: PLR0917 - options are parameters
    show_text: Annotated[
        bool,
        typer.Option("--show-text", help="Show the texts of the last verdicts; else two characters of each."),
    ] = False,
    policy: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Policy file; without one the built-in policy decides."
        ),
    ] = None,
    posts: Annotated[
        Path | None,
        typer.Option(help="Your own posts, one JSON object a line; without, the samples in the package."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Replay only this number of records, from the first.")
    ] = None,
    engine: Annotated[
        LocalEngine,
        typer.Option(help="llama_cpp is a real model on the CPU; fake judges by a hash, at once."),
    ] = LocalEngine.LLAMA_CPP,
    model: CpuModelChoice = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(help="Write every verdict there, one a line: for `sluicegate policy diff`."),
    ] = None,
    review: Annotated[
        bool,
        typer.Option("--review", help="Open a review desk for the verdicts; it runs until Ctrl-C."),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="With --review: port of the pages; 0 takes a free one.")
    ] = 8787,
    as_json: AsJson = False,
) -> None:
    """Show the whole path at work: broker, worker and model on this machine, nothing else needed.

    Every number is counted from the topics. Ends by itself; exit code 1 if a post was lost or
    answered twice. Ctrl-C stops and removes everything.

    Example: sluicegate demo --limit 50 --show-text
    """
    from sluicegate.pipeline.trial.demo.run import DemoOptions, DemoScreen, run_demo  # noqa: PLC0415 - loads Kafka's client

    records = _records(posts)[:limit]
    if not records:
        raise DemoError(f"{posts} has no lines; give a file with one JSON object a line")
    if engine is LocalEngine.LLAMA_CPP:
        require_cpu_model(model)
    options = DemoOptions(
        records=records,
        engine=engine.value,
        model=None if model is None else model.value,
        policy=policy,
        show_text=show_text,
        verdicts=verdicts,
    )
    if review:
        from sluicegate.pipeline.trial.demo.review import run_review_demo  # noqa: PLC0415 - loads Kafka's client

        _until_interrupted(run_review_demo(options, port, typer.echo))
        return
    with DemoScreen(sys.stderr if as_json else sys.stdout) as screen:
        try:
            result = asyncio.run(run_demo(options, screen))
        except asyncio.CancelledError:  # by SIGTERM or a closed terminal
            raise typer.Exit(130) from None
        screen.show(result.snapshot, final=True)
    if as_json:
        typer.echo(orjson.dumps(result.snapshot.summary(), option=orjson.OPT_INDENT_2).decode())
    _report(result.snapshot, result.log, to_stderr=as_json)
    if not result.snapshot.balanced:
        raise typer.Exit(1)


def _until_interrupted(demo: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(demo)
    except asyncio.CancelledError:  # by SIGTERM or a closed terminal
        raise typer.Exit(130) from None


def _report(snapshot: Snapshot, log: Path | None, *, to_stderr: bool) -> None:
    balance = snapshot.balance
    for what, names in (
        ("lost", balance.lost),
        ("duplicated", balance.duplicated),
        ("unasked", balance.unasked),
    ):
        if names:
            shown = ", ".join(neutral(name, 64) for name in names[:_NAMED])
            rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            typer.echo(f"{what}: {shown}{rest}", err=True)
    if log is not None:
        typer.echo(f"the worker's log: {log}", err=True)
    if balance.labelled.posts:
        typer.echo(balance.labelled.line(), err=to_stderr)
    typer.echo(balance.closing_line(), err=to_stderr)


def _records(path: Path | None) -> list[bytes]:
    if path is None:
        from sluicegate.pipeline.trial.samples import sample_records  # noqa: PLC0415 - reads a file

        return sample_records()
    try:
        return [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except OSError as error:
        raise DemoError(
            f"{path} cannot be read ({error.strerror}); give a file with one JSON object a line"
        ) from error
