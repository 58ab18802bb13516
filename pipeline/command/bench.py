"""``sluicegate bench``: an open-loop load, and what became of it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluicegate import __version__
from sluicegate.engines.files import replace_file
from sluicegate.pipeline.command.options import AsJson, LocalEngine, SettingsFile, require_cpu_model
from sluicegate.pipeline.command.post import bounded_lines
from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.trial.bench.load import MOST_POSTS, Shape, plan_arrivals

_MOST_REPORT_BYTES = 64 * 2**20
_NAME = "sluicegate"


def bench(
    posts_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Posts, one JSON object a line; without, the samples in the package."
        ),
    ] = None,
    *,
    shape: Annotated[Shape, typer.Option(help="How the rate moves over the run.")] = Shape.CONSTANT,
    rate: Annotated[float, typer.Option(min=0.01, max=100_000, help="Posts a second, in the mean.")] = 20.0,
    duration: Annotated[
        float,
        typer.Option(min=0.1, max=604_800, help="Seconds in which posts come; then answers are waited for."),
    ] = 60.0,
    posts: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_POSTS, help="Stop at this number of posts, if the duration gives more."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another one gives other arrivals of the same shape.")] = 0,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Start a broker and a worker here instead of using a cluster.")
    ] = False,
    engine: Annotated[
        LocalEngine,
        typer.Option(help="With --embedded: the CPU model, or the fake engine as a simulated H100."),
    ] = LocalEngine.FAKE,
    fake_profile: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="With --embedded: another profile of the fake engine."
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="URL of a worker's metrics, for busy share and engine seconds; once for each worker."
        ),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(help="Exit code 1 if this is so, such as 'p99_ms>500'; may be given more than once."),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            min=1,
            max=86_400,
            help="After this number of seconds without any answer, missing posts count as dropped.",
        ),
    ] = 60.0,
    settle: Annotated[
        float,
        typer.Option(
            min=0,
            max=86_400,
            help="Read on for this number of seconds after the last answer, for repeats and contradictions.",
        ),
    ] = 1.0,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the report.")] = Path("bench-report"),
    beside: Annotated[
        Path | None, typer.Option(help="An earlier bench.json: its systems stand beside this one.")
    ] = None,
    name: Annotated[str, typer.Option(help="What this system is called in the report.")] = _NAME,
    note: Annotated[str, typer.Option(help="A remark for the report, such as a commit.")] = "",
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Load a cluster with posts that come at fixed times, and report how its workers kept up.

    Latency counts from the time at which a post was to come, so that no waiting is hidden. It ends
    where the worker hands the verdict to its producer: what a broker takes to accept it shows only in
    seen_p99_ms, which ends where the verdict is read here. Drops and repeats are counted by
    id on the topics of verdicts and dead letters. Exit code 1 if a post was dropped or refused, an id
    stands on two topics, no answered post was judged, or a --fail-if holds. Ctrl-C ends the run with
    a report.

    Example: sluicegate bench --embedded --rate 50 --duration 30 --fail-if 'p99_ms>500'
    """
    from sluicegate.pipeline.trial.bench import places, report, run  # noqa: PLC0415 - loads Kafka's client

    conditions = [report.parse_threshold(text) for text in fail_if or ()]
    earlier = [] if beside is None else report.systems_of(_read_report(beside))
    lines = partial(_lines, posts_file)
    if next(lines(), None) is None:
        raise BenchError(f"{posts_file} has no lines; give a file with one JSON object a line")
    arrivals = plan_arrivals(shape, rate=rate, duration_s=duration, seed=seed, posts=posts)
    if embedded:
        if engine is LocalEngine.LLAMA_CPP:
            require_cpu_model()
        place = places.embedded(engine.value, fake_profile)
    else:
        loaded = load_settings(settings)
        place = places.cluster(loaded.kafka, loaded.topics, metrics or ())
    out.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        load = run.Load(arrivals, lines, patience, settle)
        with run.RunProgress(sys.stderr) as progress:
            outcome = asyncio.run(run.run_bench(place, load, progress))
    except asyncio.CancelledError:  # before posts were under way, or by a second Ctrl-C
        raise typer.Exit(130) from None
    setting = report.Setting(name, began, _machine(), note, outcome.remark)
    this = report.system(setting, outcome.ledger, outcome.scrapes, conditions, stopped=outcome.stopped)
    document = report.document([*earlier, this])
    _write(document, out)
    if as_json:
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    for sentence in report.troubles(this):
        typer.echo(sentence, err=True)
    typer.echo(report.closing_line(document), err=as_json)
    if outcome.stopped == run.INTERRUPTED:
        raise typer.Exit(130)
    if outcome.stopped or this["failed"]:
        raise typer.Exit(1)


def _write(document: dict[str, Any], folder: Path) -> None:
    from sluicegate.pipeline.trial.bench import report  # noqa: PLC0415 - only a run needs it

    replace_file(folder / "bench.json", orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    drawn = {}
    if importlib.util.find_spec("matplotlib") is None:
        typer.echo("no plots: matplotlib is missing; install sluicegate[evaluate]", err=True)
    else:
        report.draw(document, folder)
        drawn = dict(report.PLOTS)
    replace_file(folder / "bench.md", report.markdown(document, drawn).encode("utf-8", "replace"))
    typer.echo(f"report: {folder / 'bench.md'}", err=True)


def _read_report(path: Path) -> object:
    with path.open("rb") as stream:
        content = stream.read(_MOST_REPORT_BYTES)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _lines(path: Path | None) -> Iterator[bytes]:
    """The lines of a file of posts, without those that are longer than a record may be."""
    if path is None:
        from sluicegate.pipeline.trial.samples import sample_records  # noqa: PLC0415 - reads a file

        yield from sample_records()
        return
    with path.open("rb") as stream:
        yield from (line for line in bounded_lines(stream) if line is not None)


def _machine() -> dict[str, str]:
    """This machine, which is the workers' too only with ``--embedded``; no name of it."""
    return {
        "sluicegate": __version__,
        "Python": platform.python_version(),
        "confluent-kafka": importlib.metadata.version("confluent-kafka"),
        "faust-streaming": importlib.metadata.version("faust-streaming"),
        platform.system(): platform.machine(),
        "CPUs": str(os.cpu_count()),
    }
