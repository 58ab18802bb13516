"""Embedded broker: librdkafka's mock cluster in a process of its own, for demos and users' own tests.

It speaks the Kafka protocol on a loopback port and needs no installation, but it is no
Kafka: a topic gets four partitions when a client first asks for it, creating topics by
request is not answered, everything is in memory, and only about 5 MB are kept of each
partition (older records vanish). Never a place for posts that matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Self

from sluicegate.pipeline.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PARTITIONS = 4
"""Partitions of every topic: the mock cluster's own default."""

_START_S = 20.0
_STOP_S = 5.0


class EmbeddedBroker:
    """The mock cluster in a child process, as an async context manager.

    The child lives as long as the pipe to its standard input: it ends when this object
    is left, and also when the parent is killed. It has a session of its own, so that a
    Ctrl-C in the terminal reaches the parent alone, which then stops things in order.

    Args:
        topics: Topics that exist once the context is entered, so that a consumer who
            comes before the first producer finds them.
    """

    def __init__(self, topics: Sequence[str] = ()) -> None:
        self._topics = tuple(topics)
        self._process: asyncio.subprocess.Process | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """``host:port`` for ``bootstrap.servers``. Valid from entry on."""
        return self._address

    async def __aenter__(self) -> Self:
        """Start the child and wait for its address.

        Raises:
            StartError: The child ended, or did not answer within 20 seconds.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sluicegate.pipeline.kafka.embedded",
            *self._topics,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - given by stdout=PIPE
        try:
            async with asyncio.timeout(_START_S):
                line = await self._process.stdout.readline()
            self._address = json.loads(line)["address"]
        except (TimeoutError, ValueError, KeyError):
            await self._stop()
            raise StartError("the embedded broker did not start; its standard error says why") from None
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def main(topics: Sequence[str]) -> None:
    """Run the mock cluster until standard input ends; print its address as one line of JSON."""
    from confluent_kafka import Producer  # noqa: PLC0415 - the parent needs no client

    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 2})
    for topic in topics:
        cluster.list_topics(topic, timeout=10)
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    print(json.dumps({"address": f"{broker.host}:{broker.port}"}), flush=True)  # noqa: T201 - the agreed answer
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1:])
