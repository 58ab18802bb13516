"""``sluicegate adapt mlflow``: a finished run of a cycle, told to an MLflow server."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from sluicegate.engines.adapt.errors import CycleError
from sluicegate.pipeline.text import neutral


def mlflow(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of a run that has ended, below `runs` of the ledger."),
    ],
    tracking_uri: Annotated[
        str,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI", help="Of the MLflow server, such as https://mlflow.example."
        ),
    ],
    experiment: Annotated[
        str, typer.Option(help="Name of the experiment; made where it is missing.")
    ] = "sluicegate",
) -> None:
    """Tell an MLflow server of a run: its digests, measures and reports. No text and no weights are sent.

    Nothing of a cycle needs it. The same run is told once.

    Example: sluicegate adapt mlflow cycle/runs/weekly-0123456789ab --tracking-uri https://mlflow.example
    """
    from sluicegate.engines.adapt.cycle.tracking import tell, tracked_run  # noqa: PLC0415 - loads the cipher

    found = tracked_run(run)
    if importlib.util.find_spec("mlflow") is None:
        raise CycleError("mlflow is missing: pip install 'sluicegate[mlflow]'")
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - an extra
    from mlflow.tracking import MlflowClient  # noqa: PLC0415 - the same

    try:
        told = tell(MlflowClient(tracking_uri=tracking_uri), found, experiment)
    except MlflowException as error:
        first = neutral(str(error).partition("\n")[0])
        raise CycleError(f"MLflow did not take {found.name}: {first}; give the same command again") from error
    typer.echo(f"told as run {told}" if told else "the server knows this run already; nothing was sent")
