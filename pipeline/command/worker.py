"""``sluicegate worker``: take posts, judge them, publish verdicts."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from sluicegate.engines.errors import EngineError
from sluicegate.pipeline.command.options import SettingsFile
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.logs import configure_logs, frames
from sluicegate.pipeline.settings import load_settings

if TYPE_CHECKING:
    from sluicegate.pipeline.settings import Settings
    from sluicegate.pipeline.worker import Worker


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
    configure_logs(loaded.log.level)
    log = structlog.get_logger("sluicegate")
    log.info("settings", digest=loaded.digest, settings=loaded.masked())
    try:
        asyncio.run(_run(loaded, stop_on_eof=stop_on_eof))
    except (PipelineError, EngineError):
        raise
    except Exception as error:  # noqa: BLE001 - told without its message, whatever it is
        log.error("worker_failed", where=frames(error))  # noqa: TRY400 - messages may quote input
        raise typer.Exit(1) from None


async def _run(settings: Settings, *, stop_on_eof: bool) -> None:
    from sluicegate.pipeline.worker import Worker  # noqa: PLC0415 - Kafka clients only where one runs

    running = Worker(settings)
    if stop_on_eof:
        _stop_at_end_of_input(running)
    limit = asyncio.create_task(_end_in_time(running, settings.drain.budget_s))
    try:
        await running.run()
    finally:
        limit.cancel()


async def _end_in_time(running: Worker, budget_s: float) -> None:
    """End the process where its drain outlasts the budget.

    A Kafka client whose brokers are gone takes a minute to stop, whoever asks. Nothing is lost by not
    waiting: what was not acknowledged is read again.
    """
    await running.stopping.wait()
    await asyncio.sleep(budget_s)
    structlog.get_logger("sluicegate").error("drain_outlasted_its_budget", budget_s=budget_s)
    os._exit(1)


def _stop_at_end_of_input(running: Worker) -> None:
    loop = asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(running.stop)

    threading.Thread(target=watch, name="stdin-watch", daemon=True).start()
