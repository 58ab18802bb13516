"""``sluicegate shadow``: a candidate judges beside the incumbent, and both are compared."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluicegate.engines.files import replace_file
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.command.worker import run_worker
from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.observe.logs import configure_logs
from sluicegate.pipeline.settings.tree import load_settings

app = typer.Typer(
    help="A candidate beside the incumbent: let it judge a share of the posts, and compare. It acts on nothing.\n\n"
    "Example: sluicegate shadow run --settings candidate.yaml",
    no_args_is_help=True,
)


@app.command("run")
def run(
    settings: SettingsFile = None,
    stop_on_eof: Annotated[
        bool,
        typer.Option(
            "--stop-on-eof", help="Drain and stop when standard input closes, for a parent process."
        ),
    ] = False,
) -> None:
    """Judge a share of the posts with a candidate, until SIGTERM or Ctrl-C. Its verdicts act on nothing.

    Give it the workers' settings, but for what is tried: the engine, an adapter or the policy. It reads in a group of its
    own, and writes to topics.shadow alone. Where it lags, it judges a smaller share until it has caught up.

    Example: SLUICEGATE_CANDIDATE__EXPERIMENT=adapter-2 sluicegate shadow run --settings candidate.yaml
    """
    loaded = load_settings(settings)
    from sluicegate.pipeline.shadow.worker import ShadowWorker  # noqa: PLC0415 - Kafka clients only where one runs

    run_worker(loaded, ShadowWorker, stop_on_eof=stop_on_eof)


@app.command("compare")
def compare(
    settings: SettingsFile = None,
    until_ruled: Annotated[
        bool,
        typer.Option(
            "--until-ruled",
            help="End once the candidate is certified or rejected, and print the summary. Exit code 1: it is rejected.",
        ),
    ] = False,
) -> None:
    """Compare the candidate's verdicts with the incumbent's, until SIGTERM or Ctrl-C, and say what is shown.

    Facts of the history say what is compared. With candidate.key it adds one: certified or rejected. Its counts survive a
    kill in candidate.state_file. Metrics and probes: as of a worker, on ops.port.

    Example: SLUICEGATE_CANDIDATE__EXPERIMENT=adapter-2 sluicegate shadow compare
    """
    loaded = load_settings(settings)
    try:
        from sluicegate.pipeline.shadow.comparator import Comparator  # noqa: PLC0415 - an extra
        from sluicegate.pipeline.shadow.serving import serve_comparator  # noqa: PLC0415 - the same
    except ImportError as error:
        raise CandidateError(
            f"facts are signed, and {error.name} is missing; pip install 'sluicegate[candidate]'"
        ) from error

    configure_logs(loaded.log.level)
    comparator = Comparator(loaded, until_ruled=until_ruled)
    asyncio.run(serve_comparator(loaded, comparator))
    if not until_ruled or comparator.counting is None or comparator.counting.concluded is None:
        return
    summary = comparator.counting.concluded
    typer.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
    if summary["conclusion"]["ruling"] == "rejected":
        raise typer.Exit(1)


@app.command("report")
def report(
    settings: SettingsFile = None,
    as_json: AsJson = False,
    ruled: Annotated[
        bool,
        typer.Option(
            "--ruled", help="What the certificate or the rejection rests on, and not what is known now."
        ),
    ] = False,
    summary_file: Annotated[
        Path | None,
        typer.Option(
            "--summary",
            help="A summary that `--json` printed elsewhere, in place of candidate.state_file.",
            dir_okay=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report as HTML, Markdown and JSON, with its plots.", file_okay=False
        ),
    ] = None,
) -> None:
    """Say what is known of the candidate, from candidate.state_file. Asks no cluster.

    Example: sluicegate shadow report --out report
    """
    summary = _summary(settings, summary_file, ruled=ruled)
    if out is not None:
        _write_report(summary, out)
        return
    if as_json:
        typer.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
        return
    from sluicegate.pipeline.shadow.report import markdown  # noqa: PLC0415 - as above

    typer.echo(markdown(summary))


def _summary(settings: Path | None, summary_file: Path | None, *, ruled: bool) -> dict[str, Any]:
    """The summary of a file, or of the comparator's state."""
    from sluicegate.pipeline.shadow.counting import read_state  # noqa: PLC0415 - as above

    path = summary_file or load_settings(settings).candidate.state_file
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CandidateError(
            f"{path} cannot be read ({error.strerror}); run this where `sluicegate shadow compare` runs, "
            "or give a summary with --summary"
        ) from error
    if summary_file is None:
        state = read_state(text)
        found = state["concluded"] if ruled else state["summary"]
    else:
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise CandidateError(
                f"{path} is no summary; `sluicegate shadow report --json` prints one"
            ) from error
    if found is None:
        raise CandidateError("nothing is ruled yet; leave --ruled out to see what is known so far")
    if not isinstance(found, dict):
        raise CandidateError(f"{path} is no summary; `sluicegate shadow report --json` prints one")
    return found


def _write_report(summary: dict[str, Any], folder: Path) -> None:
    """Write ``report.html``, ``report.md``, ``summary.json`` and the plots."""
    from sluicegate.pipeline.shadow.report import PLOTS, draw, html, markdown  # noqa: PLC0415 - the same

    page = markdown(summary)  # before anything is written: another format is refused
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            draw(summary, folder)
        except ImportError:
            typer.echo("The plots are left out: matplotlib is missing; pip install 'sluicegate[evaluate]'")
            pictures = {}
        else:
            pictures = {name: (folder / name).read_bytes() for name in PLOTS}
        replace_file(folder / "report.html", html(summary, pictures).encode())
        replace_file(folder / "report.md", page.encode())
        replace_file(folder / "summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise CandidateError(
            f"{folder} cannot be written to ({error.strerror}); name another folder"
        ) from error
    typer.echo(f"{folder / 'report.html'}")
