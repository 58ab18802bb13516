"""A TCP proxy on loopback that can be cut, slowed and silenced while connections run through it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_CHUNK_BYTES = 4096
_CALL_S = 10.0
_Result = TypeVar("_Result")


class Proxy:
    """Forwards ``port`` to ``target_port``. Use as a context manager; its methods may be called from any thread.

    It runs on an event loop in a thread of its own.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self.connections = 0
        """Accepted so far."""

    def __enter__(self) -> Self:
        self._thread.start()
        self.restore()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._do(self._cut())

    def silence(self) -> None:
        """Keep connections, accept new ones, and pass nothing on: half-open, as seen from either side."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def slow(self, *, bytes_per_s: float, delay_s: float) -> None:
        """Pass on so many bytes a second, and each piece so much later; for each connection and direction."""
        self._bytes_per_s, self._delay_s = bytes_per_s, delay_s

    def restore(self) -> None:
        """Work as if nothing had been. Connections that were silenced are reset, as after a router's restart."""
        self._bytes_per_s = self._delay_s = 0.0
        self._do(self._restore())

    def _do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    async def _restore(self) -> None:
        if not self._flowing.is_set():
            self._break_all()
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._break_all()

    async def _end(self) -> None:
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _break_all(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            beyond_reader, beyond_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(beyond_writer)
        for one, other in ((reader, beyond_writer), (beyond_reader, writer)):
            task = asyncio.create_task(self._pass_on(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(_CHUNK_BYTES):
                await self._flowing.wait()
                if self._bytes_per_s:
                    await asyncio.sleep(self._delay_s + len(piece) / self._bytes_per_s)
                writer.write(piece)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()
