"""Batches of records as aiokafka parses them, whatever bytes a header's name consists of.

Kafka's protocol calls a header's name a string; brokers take any bytes. aiokafka decodes
strictly, and raises before it gives the record: the reader would meet it again for ever, so that
anybody who may write could stop a partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import structlog
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.get_logger(__name__)


class LenientRecords(_MemoryRecordsPy):  # type: ignore[misc]  # final for type checkers only
    """The batches of one partition's answer to a fetch, in place of aiokafka's own."""

    def next_batch(self, *places: int) -> Any:
        """The next batch; None after the last."""
        raw = self._next_slice
        batch = super().next_batch(*places)
        # Older formats know no headers.
        return _LenientBatch(batch, raw) if isinstance(batch, DefaultRecordBatch) else batch


class _LenientBatch:
    """A batch, parsed by aiokafka's compiled parser as long as that takes it."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def validate_crc(self) -> bool:
        """Compare the checksum. The fetcher raises where it is wrong, and names the partition alone."""
        sound = bool(self._batch.validate_crc())
        if not sound:
            last = self._batch.next_offset - 1
            _log.error("batch_damaged", first_offset=self._batch.base_offset, last_offset=last)
        return sound

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except (UnicodeDecodeError, CorruptRecordException):  # the latter from its pure Python twin
            # From the batch's beginning: the fetcher skips offsets that it has given already.
            yield from _EscapingBatch(self._raw)


class _EscapingBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for type checkers only
    """A batch whose headers' names are escaped where they are no UTF-8. Slow, and rarely needed."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Escaping(self._buffer)


class _Escaping(bytearray):
    """Bytes, as are their slices, that decode without fail: what is no UTF-8 is escaped in hexadecimal."""

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        found = super().__getitem__(place)
        return _Escaping(found) if isinstance(found, bytearray) else found

    def decode(self, *_: Any, **__: Any) -> str:
        return super().decode("utf-8", "backslashreplace")
