"""Keeps one server process running: start, restart with back-off, clean stop."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from sluicegate.engines.errors import EngineSetupError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

_log = logging.getLogger(__name__)

_START_S = 120.0  # a small model loads in under a second; a cold disk and a large one take longer
_STOP_S = 5.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
"""A server that ran for so long starts again at the first pause."""
_ERROR_BYTES = 2048


class Supervisor:
    """One child process that prints ``{"url": …}`` when ready and lives as long as its standard input.

    The pipe ties the child to this process: it ends even if this one is killed. It has a
    session of its own, so that a Ctrl-C reaches only us, and we decide when it stops.

    Args:
        command: Arguments of ``python``.
        on_ready: Awaited after every start, before the next one can happen; its
            ``EngineUnavailable`` is ignored, since a server that is gone is restarted anyway.
    """

    def __init__(self, command: Sequence[str], on_ready: Callable[[], Awaitable[None]]) -> None:
        self._command = tuple(command)
        self._on_ready = on_ready
        self._process: asyncio.subprocess.Process | None = None
        self._url: str | None = None
        self.starts = 0
        """Server processes that became ready so far: a number for each life."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The running server's process id."""
        return self._process.pid if self._process and self._url else None

    def address(self) -> str:
        """The server's address.

        Raises:
            EngineUnavailable: It is not running, or not yet.
        """
        if self._url is None:
            raise EngineUnavailable("the engine's server process is starting")
        return self._url

    async def start(self) -> None:
        """Start the server and keep it running until :meth:`stop`.

        Raises:
            EngineSetupError: The first start failed; the message ends in the server's own words.
        """
        try:
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._spawn(self._keep_running())

    def replace(self) -> None:
        """Kill a server that hangs; another is started in its place. Nothing happens while none is ready."""
        if self._process is not None and self._url is not None and self._process.returncode is None:
            _log.warning("the engine's server process hangs and is killed")
            self._url = None
            self._process.kill()

    async def stop(self) -> None:
        """Close the pipe and wait; kill after five seconds. May be called at any time, and again."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._url = None
        process, self._process = self._process, None
        if process:
            await _end(process)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_PAUSE_S
        while self._process:
            started = loop.time()
            code = await self._process.wait()
            self._url = None
            if loop.time() - started > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            _log.warning("the engine's server process ended with code %s; restart in %.2f s", code, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                await self._launch()
            except (EngineSetupError, OSError) as error:
                _log.error("%s", error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next crash needs a restart, too
                _log.error("the engine's server process is up, but not warm: %s", type(error).__name__)

    async def _launch(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        said = bytearray()
        if process.stdout is None or process.stderr is None:
            raise EngineSetupError("the engine's server process has no pipes")
        drain = self._spawn(_drain(process.stderr, said))
        line = b""
        with suppress(TimeoutError, ValueError):  # ValueError: a line without end
            async with asyncio.timeout(_START_S):
                line = await process.stdout.readline()
        try:
            url = json.loads(line)["url"]
        except (ValueError, KeyError, TypeError):
            await _end(process)
            await asyncio.wait([drain])
            words = said.decode(errors="replace").strip()
            raise EngineSetupError(
                f"the engine's server did not start: {words or 'it said nothing'}"
            ) from None
        said.clear()  # from here on it may speak about prompts: drained, never shown
        self._spawn(_drain(process.stdout, bytearray()))
        self._url = str(url)
        self.starts += 1
        with suppress(EngineUnavailable):
            await self._on_ready()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _drain(stream: asyncio.StreamReader, last: bytearray) -> None:
    """Read until the end, so that the writer never blocks; keep the last bytes."""
    while chunk := await stream.read(_ERROR_BYTES):
        last += chunk
        del last[:-_ERROR_BYTES]


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
