"""``sluicegate worker``: take posts, judge them, publish verdicts."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
import typer

from sluicegate.engines.errors import EngineError
from sluicegate.pipeline.command.options import SettingsFile
from sluicegate.pipeline.errors import PipelineError, SettingsError
from sluicegate.pipeline.observe.logs import configure_logs, frames
from sluicegate.pipeline.settings.tree import Settings, load_settings, variable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def worker(
    settings: SettingsFile = None,
    role: Annotated[
        Literal["judge", "screen"] | None,
        typer.Option(help="As worker.role: judge has an engine, screen is an edge in front of such workers."),
    ] = None,
    stop_on_eof: Annotated[
        bool,
        typer.Option(
            "--stop-on-eof", help="Drain and stop when standard input closes, for a parent process."
        ),
    ] = False,
) -> None:
    """Run one worker of the consumer group until SIGTERM or Ctrl-C, then drain and leave.

    Probes and metrics: /livez, /readyz and /metrics on ops.port. Logs: JSON lines on stderr.

    Example: SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 sluicegate worker
    """
    loaded = _load(settings, role)
    configure_logs(loaded.log.level)
    log = structlog.get_logger("sluicegate")
    log.info("settings", digest=loaded.digest, settings=loaded.masked())
    try:
        asyncio.run(_run(loaded, stop_on_eof=stop_on_eof))
    except (PipelineError, EngineError):
        raise
    except Exception as error:  # noqa: BLE001 - told without its message, whatever it is
        log.error("worker_failed", where=frames(error))  # noqa: TRY400 - messages may quote input
        raise (_ours(error) or typer.Exit(1)) from None


def _ours(error: Exception) -> BaseException | None:
    """The first error of ours that task groups wrapped: its message is for the operator, and quotes no post."""
    ours: BaseException | None = error.subgroup(PipelineError) if isinstance(error, ExceptionGroup) else None
    while isinstance(ours, BaseExceptionGroup):
        ours = ours.exceptions[0]
    return ours


def _load(path: Path | None, role: str | None) -> Settings:
    if role is None:
        return load_settings(path)
    loaded = load_settings(path, worker={"role": role})
    if loaded.worker.role != role:
        name = variable("worker", "role")
        raise SettingsError(f"--role {role}: {name} says {loaded.worker.role}; leave one of the two out")
    return loaded


async def _run(settings: Settings, *, stop_on_eof: bool) -> None:
    from sluicegate.pipeline.worker import Worker  # noqa: PLC0415 - Kafka clients only where one runs

    running = Worker(settings)
    if stop_on_eof:
        _stop_at_end_of_input(running.stop)
    limit = asyncio.create_task(_end_in_time(running.stopping, settings.drain.budget_s))
    try:
        await running.run()
    finally:
        limit.cancel()


async def _end_in_time(stopping: asyncio.Event, budget_s: float) -> None:
    """End the process where its drain outlasts the budget.

    A Kafka client whose brokers are gone takes a minute to stop. Nothing is lost by not
    waiting: what was not acknowledged is read again.
    """
    await stopping.wait()
    await asyncio.sleep(budget_s)
    structlog.get_logger("sluicegate").error("drain_outlasted_its_budget", budget_s=budget_s)
    os._exit(1)


def _stop_at_end_of_input(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop)

    threading.Thread(target=watch, name="stdin-watch", daemon=True).start()
