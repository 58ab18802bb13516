"""The shared assessment cache: what other workers have found, kept in Redis for all of them.

It may be lost at any moment and costs nothing while it is away: no post waits for a connection,
a look-up waits for one bounded answer, a write is never waited for, and every fault is a miss.
It holds hashes of prompts and what was found of them, never a text. What it answers is checked like
any input from outside.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Annotated, Self

import structlog
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from sluicegate.engines.text.parsing import one_line
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.settings.tree import CacheSettings
from sluicegate.pipeline.shortcuts.cache import Stored
from sluicegate.schemas import AssessedBy, Assessment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from redis.asyncio import Redis


_log = structlog.get_logger(__name__)

_PREFIX = "sluicegate:assessment:3:"  # the number is that of the value's format: another format is a miss
_RETRY_S = 5.0  # after a fault
_LATE = 8  # answers in a row that came too late are a fault: a slow Redis then costs 8 timeouts in 5 s
_BACKGROUND_S = 2.0  # to connect (name, TLS, password), write or answer late; no post waits for it
_CANCEL_S = 0.1
_DUE = 4096  # writes that wait; beyond, the oldest is dropped
_BATCH = 256
_KEYS = 4096  # in one look-up; a chunk of long posts can bring more, and those are judged
_VALUE_BYTES = 64 * 1024  # three times the largest assessment that the contract allows


class _Entry(BaseModel):
    """One value in Redis. Others may write there: it must be what we could have written."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    verdict_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")] | None = None
    assessment: Assessment

    @model_validator(mode="after")
    def _could_be_ours(self) -> Self:
        found = self.assessment
        if (
            found.severity != found.scores.severity
            or found.assessed_by is not AssessedBy.ENGINE
            or found.explanation_failure is not None
            or (found.explained_as is None and (found.categories or found.category_scores))
        ):
            raise ValueError("no assessment of an engine")
        return self


def packed(stored: Stored) -> bytes:
    """The value that Redis keeps, as compact JSON."""
    entry = _Entry.model_construct(verdict_id=stored.verdict_id, assessment=stored.assessment)
    return entry.model_dump_json(exclude_defaults=True).encode()


def unpacked(value: object) -> Stored | None:
    """What a value holds; None if it is not one that :func:`packed` could have made. Never raises."""
    if not isinstance(value, bytes) or len(value) > _VALUE_BYTES:
        return None
    try:
        entry = _Entry.model_validate_json(value)
    except ValidationError:
        return None
    assessment = entry.assessment
    texts = [*assessment.categories, *assessment.category_scores]
    if assessment.reason is not None:
        texts.append(assessment.reason)
    if any(one_line(text) != text for text in texts):  # what others write there must not reach a terminal
        return None
    return Stored(assessment, entry.verdict_id, how="shared")


def _name(key: bytes) -> str:
    return _PREFIX + key.hex()


class SharedCache:
    """Looks up and stores in Redis. Use as an async context manager; one event loop.

    A task of its own connects, writes, and waits after a fault before it tries again; meanwhile
    look-ups answer at once that nothing is known, and nothing is kept for writing.
    """

    def __init__(
        self,
        client: Redis,
        instruments: Instruments,
        *,
        timeout_s: float,
        ttl_s: int,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._client = client
        self._errors = instruments.metrics.shared_cache_errors
        self._clock = instruments.clock
        self._timeout_s = timeout_s
        self._ttl_s = ttl_s
        self._retry_s = retry_s
        self._up: bool | None = None  # None: not tried yet
        self._due: deque[tuple[bytes, Stored]] = deque(maxlen=_DUE)
        self._wake = asyncio.Event()
        self._asking: asyncio.Task[dict[bytes, Stored]] | None = None
        self._late = 0
        self._tending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._tending = asyncio.create_task(self._tend(), name="shared-cache")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._up = False
        for task in (self._tending, self._asking):
            # Until it is done: wait_for of Python 3.11, in the client, loses a cancellation that meets a result.
            while task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=_CANCEL_S)
        try:
            async with asyncio.timeout(_BACKGROUND_S):
                await self._client.aclose()
        except Exception as fault:  # noqa: BLE001 - a cache that cannot be left is left all the same
            _log.warning("shared_cache_not_closed", error=type(fault).__name__)

    @property
    def up(self) -> bool:
        """True while it is in use: connected, and without a fault since."""
        return bool(self._up)

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """What is known of these keys, in one request. Never raises; may be cancelled.

        Returns within the timeout, with nothing while Redis is away or owes an earlier answer.
        """
        busy = self._asking is not None and not self._asking.done()
        if not self._up or busy or not keys:
            return {}
        # Not cut off at the timeout: where this process itself was held up, the answer is already here,
        # and Redis is well. One timeout in a busy second would take the cache out of use for five.
        self._asking = asking = asyncio.create_task(self._ask(keys[:_KEYS]))
        done, _ = await asyncio.wait([asking], timeout=self._timeout_s)
        if done:
            self._late = 0
            return asking.result()
        self._late += 1
        if self._late >= _LATE:
            self._lose("look_up", TimeoutError())
        else:
            self._errors.labels("late").inc()
        return {}

    async def _ask(self, asked: Sequence[bytes]) -> dict[bytes, Stored]:
        try:
            async with asyncio.timeout(_BACKGROUND_S):
                values = await self._client.mget([_name(key) for key in asked])
        except Exception as error:  # noqa: BLE001 - whatever a foreign server provokes is a miss
            self._lose("look_up", error)
            return {}
        found = {}
        for key, value in zip(asked, values, strict=False):
            if value is None:
                continue
            stored = unpacked(value)
            if stored is None:
                self._errors.labels("value").inc()
            else:
                found[key] = stored
        return found

    def put(self, key: bytes, stored: Stored) -> None:
        """Store, some time soon, if Redis is there. Never waits."""
        if self._up:
            self._due.append((key, stored))
            self._wake.set()

    async def _tend(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_BACKGROUND_S):
                    await self._client.mget([_PREFIX])  # the right that look-ups need, not only a connection
            except Exception as error:  # noqa: BLE001 - as for a look-up
                self._lose("connect", error)
            else:
                self._up = True
                _log.info("shared_cache_in_use")
                await self._write_while_up()
            await self._clock.sleep(self._retry_s)

    async def _write_while_up(self) -> None:
        while self._up:
            await self._wake.wait()
            self._wake.clear()
            while self._up and self._due:
                batch = [self._due.popleft() for _ in range(min(_BATCH, len(self._due)))]
                try:
                    async with asyncio.timeout(_BACKGROUND_S):
                        refused = await self._write(batch)
                except Exception as error:  # noqa: BLE001 - as for a look-up
                    self._lose("write", error)
                else:  # a full Redis, or one that may only be read, still answers look-ups
                    self._errors.labels("write").inc(refused)

    async def _write(self, batch: Sequence[tuple[bytes, Stored]]) -> int:
        async with self._client.pipeline(transaction=False) as pipeline:
            for key, stored in batch:
                pipeline.set(_name(key), packed(stored), ex=self._ttl_s)
            answers = await pipeline.execute(raise_on_error=False)
        return sum(isinstance(answer, Exception) for answer in answers)

    def _lose(self, call: str, error: Exception) -> None:
        self._errors.labels(call).inc()
        if self._up is not False:
            # Not its message: that may quote the address with its password.
            _log.warning("shared_cache_away", call=call, error=type(error).__name__)
        self._up = False
        self._late = 0
        self._due.clear()
        self._wake.set()


def open_shared_cache(
    settings: CacheSettings, instruments: Instruments, *, retry_s: float = _RETRY_S
) -> SharedCache | None:
    """Make the cache that the settings name, if they name one; entering it starts it.

    ``retry_s`` is how many seconds it leaves Redis alone after a fault.

    Raises:
        StartError: The client library is not installed, or the address is none.
    """
    if settings.redis_url is None:
        return None
    try:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra, loaded only where it is used
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - the same
        from redis.backoff import NoBackoff  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise StartError(
            "cache.redis_url needs the Redis client: pip install 'sluicegate[redis]', or leave cache.redis_url out"
        ) from error
    try:
        client = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=_BACKGROUND_S,
            socket_connect_timeout=_BACKGROUND_S,
            retry=Retry(NoBackoff(), 0),
            client_name="sluicegate",
        )
    except ValueError:  # its message quotes the address
        raise StartError(
            "cache.redis_url is no address of a Redis; for example redis://:password@redis:6379/0"
        ) from None
    return SharedCache(
        client,
        instruments,
        timeout_s=settings.redis_timeout_ms / 1000,
        ttl_s=settings.redis_ttl_s,
        retry_s=retry_s,
    )
