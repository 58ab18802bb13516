"""``sluicegate shadow``: a candidate judges beside the incumbent, and both are compared."""

from __future__ import annotations

from typing import Annotated

import typer

from sluicegate.pipeline.command.options import SettingsFile
from sluicegate.pipeline.command.worker import run_worker
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
