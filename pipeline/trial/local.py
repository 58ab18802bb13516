"""A system on this machine for a trial: an embedded broker, and a worker as a user would start it.

Neither can outlive the trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiohttp

from sluicegate.pipeline.errors import DemoError
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.pipeline.trial.demo.tally import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

_READY_S = 120.0  # a cold start of the CPU model from a slow disk
_STOP_S = 25.0  # above the drain that a trial gives its worker
_LOOK_AGAIN_S = 0.1
_KEPT = "SLUICEGATE_CACHE_DIR"  # where the CPU model lies; no other setting of the user's reaches a trial
_LINE_BYTES = 65_536
_ANSWER_S = 2.0
_SETTINGS = {
    "ops.host": "127.0.0.1",
    "ops.port": "0",
    # Nothing is left in flight when a trial ends in order; a Ctrl-C should not take long.
    "drain.finish_s": "5",
    "drain.flush_s": "3",
    "drain.leave_s": "5",
    "drain.budget_s": "15",
}


class WorkerProcess:
    """One ``sluicegate worker`` with its log in a file. Use as an async context manager.

    Standard input is a pipe: when the trial ends, however it ends, the pipe closes and the
    worker drains. It has a session of its own, so that a Ctrl-C reaches the trial alone.

    Args:
        settings: Values by dotted setting, such as ``ops.port``.
        log: File for the worker's standard error.
    """

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self._settings = settings
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S))
        self._address = ""
        self._log_kept = False

    async def __aenter__(self) -> Self:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SLUICEGATE_") or name == _KEPT
        }
        # Beside its log, so that nothing of it is left once that folder goes.
        settings = {"engine.in_work_folder": str(self._log.parent), **self._settings}
        named = {f"SLUICEGATE_{name.upper().replace('.', '__')}": value for name, value in settings.items()}
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sluicegate", "worker", "--stop-on-eof"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                env=kept | named,
                start_new_session=True,
            )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        process = self._process
        assert process is not None and process.stdin is not None  # noqa: S101, PT018 - entered, with stdin=PIPE
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await self._session.close()

    def check(self) -> None:
        """Make sure that the worker runs.

        Raises:
            DemoError: It has ended.
        """
        if self._process is not None and self._process.returncode is not None:
            raise DemoError(
                f"the worker ended with exit code {self._process.returncode}; its log says why: {self._log}"
            )

    async def ready(self) -> None:
        """Return once ``/readyz`` answers 200.

        Raises:
            DemoError: The worker ended, or was not ready in time.
        """
        try:
            async with asyncio.timeout(_READY_S):
                while not self._address:
                    self.check()
                    self._address = self._find_address()
                    await asyncio.sleep(_LOOK_AGAIN_S)
                while not await self._is_ready():
                    self.check()
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            raise DemoError(
                f"the worker was not ready within {_READY_S:.0f} s; its log says why: {self._log}"
            ) from None

    def keep_log(self) -> Path:
        """Leave the log where it is when the trial ends; where that is."""
        self._log_kept = True
        return self._log

    @property
    def log_kept(self) -> bool:
        """True if the log is to stay; that of a worker that ended by itself always is."""
        return self._log_kept or (self._process is not None and self._process.returncode is not None)

    async def metrics(self) -> str:
        """The text of ``/metrics``; empty if it does not answer in time."""
        try:
            async with self._session.get(f"{self._address}/metrics") as answer:
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""

    def _find_address(self) -> str:
        """The ops address from the log line that says the worker has started."""
        with self._log.open("rb") as log:
            while line := log.readline(_LINE_BYTES):
                event = parse(line)
                if event.get("event") == "worker_started":
                    return str(event.get("ops", ""))
        return ""

    async def _is_ready(self) -> bool:
        try:
            async with self._session.get(f"{self._address}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """A broker and a worker that run."""

    kafka: KafkaSettings
    topics: TopicSettings
    worker: WorkerProcess


@asynccontextmanager
async def local_system(
    name: str, settings: Mapping[str, str], say: Callable[[str], None] = lambda _sentence: None
) -> AsyncIterator[LocalSystem]:
    """Run a broker and a worker, which end with the block. The worker's log is kept if the block fails.

    Args:
        name: What it is for, such as ``demo``; part of its folder's name.
        settings: The worker's own, by dotted setting; ``engine.backend`` at least.
        say: Told what is started.

    Raises:
        DemoError: The worker did not start; the message names its log.
        StartError: The broker did not start.
    """
    log = Path(tempfile.mkdtemp(prefix=f"sluicegate-{name}-")) / "worker.log"
    keep = False
    try:
        say("starting the embedded broker")
        topics = TopicSettings()
        async with EmbeddedBroker([*topics.model_dump().values()]) as broker:
            say(f"starting a worker with the {settings['engine.backend']} engine")
            own = {**_SETTINGS, "kafka.bootstrap_servers": broker.address, **settings}
            async with WorkerProcess(own, log) as worker:
                await worker.ready()
                yield LocalSystem(KafkaSettings(bootstrap_servers=broker.address), topics, worker)
                keep = worker.log_kept
    except Exception:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(log.parent, ignore_errors=True)
