"""The demo's worker: a process of its own, as a user would start it, that cannot outlive the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Self

import aiohttp

from sluicegate.pipeline.errors import DemoError
from sluicegate.pipeline.trial.demo.tally import parse

if TYPE_CHECKING:
    from pathlib import Path

_READY_S = 120.0  # a cold start of the CPU model from a slow disk
_STOP_S = 25.0  # above the drain that the demo gives its worker
_LOOK_AGAIN_S = 0.1
_KEPT = "SLUICEGATE_CACHE_DIR"  # where the CPU model lies; no other setting of the user's reaches the demo
_LINE_BYTES = 65_536


class WorkerProcess:
    """One ``sluicegate worker`` with its log in a file. Use as an async context manager.

    Standard input is a pipe: when the demo ends, however it ends, the pipe closes and the
    worker drains. It has a session of its own, so that a Ctrl-C reaches the demo alone.

    Args:
        settings: Values by dotted setting, such as ``ops.port``.
        log: File for the worker's standard error.
    """

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self._settings = settings
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._address = ""

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
        if process is None or process.stdin is None:
            return
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

    def check(self) -> None:
        """Make sure that the worker runs.

        Raises:
            DemoError: It has ended.
        """
        if self._process is not None and self._process.returncode is not None:
            raise DemoError(
                f"the worker ended with exit code {self._process.returncode}; its log says why: {self._log}"
            )

    async def ready(self, session: aiohttp.ClientSession) -> None:
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
                while not await self._is_ready(session):
                    self.check()
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            raise DemoError(
                f"the worker was not ready within {_READY_S:.0f} s; its log says why: {self._log}"
            ) from None

    async def metrics(self, session: aiohttp.ClientSession) -> str:
        """The text of ``/metrics``; empty if it does not answer in time."""
        try:
            async with session.get(f"{self._address}/metrics") as answer:
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

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self._address}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
