"""``sluicegate worker``: take posts, judge them, publish verdicts."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Protocol

import structlog
import typer

from sluicegate.engines.errors import EngineError
from sluicegate.pipeline.command.options import SettingsFile
from sluicegate.pipeline.errors import PipelineError, StartError
from sluicegate.pipeline.flow.tried import Beside, Candidate
from sluicegate.pipeline.observe.logs import configure_logs, frames
from sluicegate.pipeline.settings.tree import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable


class Drainable(Protocol):
    """What works until it is told to stop, and drains then."""

    @property
    def stopping(self) -> asyncio.Event:
        """Set once the drain has begun."""
        ...

    def stop(self) -> None:
        """Begin to drain."""
        ...

    async def run(self) -> None:
        """Work until told to stop; return once drained."""
        ...


def worker(
    settings: SettingsFile = None,
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
    loaded = load_settings(settings)
    from sluicegate.pipeline.worker import Worker  # noqa: PLC0415 - Kafka clients only where one runs

    run_worker(loaded, lambda given: Worker(given, _candidate(given)), stop_on_eof=stop_on_eof)


def run_worker(loaded: Settings, make: Callable[[Settings], Drainable], *, stop_on_eof: bool) -> None:
    """Run a worker until SIGTERM or Ctrl-C, then drain and leave.

    Args:
        loaded: Its settings.
        make: Makes it.
        stop_on_eof: Whether it drains, too, when standard input closes.
    """
    configure_logs(loaded.log.level)
    log = structlog.get_logger("sluicegate")
    log.info("settings", digest=loaded.digest, settings=loaded.masked())
    try:
        asyncio.run(_run(loaded, make, stop_on_eof=stop_on_eof))
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


async def _run(settings: Settings, make: Callable[[Settings], Drainable], *, stop_on_eof: bool) -> None:
    running = make(settings)
    if stop_on_eof:
        _stop_at_end_of_input(running.stop)
    limit = asyncio.create_task(_end_in_time(running.stopping, settings.drain.budget_s))
    try:
        await running.run()
    finally:
        limit.cancel()


def _candidate(settings: Settings) -> Callable[[Settings, Beside], Candidate] | None:
    """What makes the candidate of the settings, if they have one.

    Raises:
        StartError: A library is missing, or there is nothing that it could judge here.
    """
    if settings.candidate.policy is None:
        return None
    try:
        from sluicegate.pipeline.shadow.standing import Standing  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StartError(
            f"candidate.policy needs {error.name}; pip install 'sluicegate[candidate]'"
        ) from error
    return Standing


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
