"""Logs: one JSON line per event on stderr, for our code and the libraries alike.

No line at any level holds the text of a post: our events carry ids, codes and counts; a
traceback shows frames and exception types without their messages, which may quote input;
every value is cut to a bounded length. A line that cannot be written, on a full disk say, is
dropped and counted: a full disk must never stop a partition. A pipe that nobody reads still does.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

import orjson
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, Processor, WrappedLogger

_GROUP_PARTS = 3  # tasks that fail together mostly fail of one cause
_VALUE_CHARACTERS = 2_000  # a traceback's tail fits; a runaway value does not
# asyncio and aiohttp describe tasks with their locals at debug, and Faust dumps whole
# messages there: those libraries stay at info whatever level ours have.
NOISY = ("faust", "mode", "aiokafka", "asyncio", "aiohttp", "kafka")


class DroppedLines:
    """Lines that could not be written, counted for the metric that shows the number."""

    def __init__(self) -> None:
        self._lines = 0
        self._count: Callable[[float], object] | None = None

    def shown_by(self, count: Callable[[float], object]) -> None:
        """Let a counter have those dropped so far, and each further one."""
        self._count = count
        count(self._lines)

    def add(self) -> None:
        """Count one."""
        self._lines += 1
        if self._count is not None:
            self._count(1)


DROPPED = DroppedLines()
"""Of this process."""


class _Lines(logging.Handler):
    """Writes each record to stderr as it comes, past Python's buffers, and never raises.

    Logging's own handler answers a failed write with a traceback that quotes the record, and does
    not see a write that a full disk cut short.
    """

    _torn = False  # the file ends in part of a line

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or drop it."""
        try:
            line = self.format(record).encode() + b"\n"
            self._write(b"\n" + line if self._torn else line)
        except Exception:  # noqa: BLE001 - whatever a library logs, or a disk answers
            DROPPED.add()

    def _write(self, line: bytes) -> None:
        file = getattr(sys.stderr.buffer, "raw", sys.stderr.buffer)
        left = memoryview(line)
        try:
            while left:
                written = file.write(left)
                if not written:  # a pipe that takes no more just now
                    raise BlockingIOError
                left = left[written:]
        finally:
            if len(left) < len(line):
                self._torn = bool(left)


def frames(error: BaseException) -> str:
    """An exception's type and where it was raised, innermost frame first, without its message."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(frames(part) for part in error.exceptions[:_GROUP_PARTS])
    stack = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in stack]
    return f"{type(error).__name__} at {' < '.join(reversed(places)) or 'an unknown place'}"


def _without_messages(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        event["exception"] = frames(error)
    return event


def _bounded(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > _VALUE_CHARACTERS:
            event[key] = value[:_VALUE_CHARACTERS] + "…"
    return event


def _dumps(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=repr).decode()


def configure_logs(level: str) -> None:
    """Send every log record to stderr as JSON. Call once, at the start of a process."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Lines()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_messages,
                _bounded,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
