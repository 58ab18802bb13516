"""Tracking: what a finished run tells a tracker of experiments. No text and no person stands in it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sluicegate.engines.adapt.cycle.ledger import RESULT
from sluicegate.engines.adapt.errors import CycleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES: Final = ("gate.md", "gate.json", "slices.json", "leaks.json", "left-out.json", "facts")
"""What is sent along. Scores are not: a model's reasons may quote texts."""

_TAG: Final = "sluicegate.run"
"""Set last: a run that has it is told whole."""


class TrackedRun(NamedTuple):
    """A finished run as trackers know one."""

    name: str
    ended_at: datetime
    parameters: dict[str, str]
    """What went in and came out, by digest."""
    metrics: dict[str, float]
    files: tuple[Path, ...]
    """Files and folders to send along."""


def tracked_run(folder: Path) -> TrackedRun:
    """Read a run's folder.

    Args:
        folder: Of the run, such as ``cycle/runs/weekly-0123456789ab``.

    Raises:
        CycleError: No finished run stands there.
    """
    try:
        result = orjson.loads((folder / RESULT).read_bytes())
        gate = orjson.loads((folder / "gate.json").read_bytes())
        ended_at = datetime.fromisoformat(result["at"])
        parameters = {
            "snapshot": result["snapshot"],
            "bundle": result["digest"] or "",
            "passed": str(result["passed"]).lower(),
            "why": result["why"],
            "trigger": result["trigger"],
        }
        return TrackedRun(
            folder.name,
            ended_at,
            parameters,
            dict(_metrics(result, gate)),
            tuple(folder / name for name in FILES if (folder / name).exists()),
        )
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CycleError(
            f"{folder} is no run that has ended; name a folder below `runs` of the ledger"
        ) from error


def tell(client: Any, run: TrackedRun, experiment: str) -> str | None:
    """Write a run; its id there, or None if the server has it already.

    Args:
        client: An ``MlflowClient``.
        run: What to write.
        experiment: Name of the experiment.
    """
    known = client.get_experiment_by_name(experiment)
    place = client.create_experiment(experiment) if known is None else known.experiment_id
    if client.search_runs([place], f"tags.`{_TAG}` = '{run.name}' and attributes.status = 'FINISHED'"):
        return None
    ended_ms = int(run.ended_at.timestamp() * 1000)
    name: str = client.create_run(place, run_name=run.name).info.run_id
    try:
        for key, text in run.parameters.items():
            client.log_param(name, key, text)
        for key, value in run.metrics.items():
            client.log_metric(name, key, value, timestamp=ended_ms)
        for path in run.files:
            client.log_artifact(name, str(path))
        client.set_tag(name, _TAG, run.name)
    except BaseException:
        client.set_terminated(name, "FAILED")
        raise
    client.set_terminated(name, "FINISHED", end_time=ended_ms)
    return name


def _metrics(result: dict[str, Any], gate: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name in ("rows", "held", "near_golden", "leaks"):
        yield name, float(result[name])
    if result["taught_gain"] is not None:
        yield "taught_gain", result["taught_gain"]
    if result["worst_slice"] is not None:
        yield "worst_slice", result["worst_slice"][1]
    for step, seconds in result["seconds"].items():
        yield f"seconds/{step}", seconds
    for name, one in gate.get("months", {}).get("slices", {}).items():
        yield f"right/{name}", one["new"]
    for check in gate.get("checks", ()):
        for side in ("new", "current"):
            if check["by"] == "all" and check[side] is not None:
                yield f"{side}/{check['what']}", float(check[side])
