"""The real client's callbacks: one that follows another in the same call must not end the process.

``Consumer.list_topics`` within a callback makes the client forget the call that it serves, and it aborts at the next callback.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, TopicPartition

from sluicegate.pipeline.kafka.consumer import GroupConsumer
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.pipeline.kafka.assignment import Chunk, Reset
    from sluicegate.pipeline.records import Partition

TOPIC = "posts"
WITHIN_S = 60.0


class CommitsMeanwhile(Consumer):  # type: ignore[misc]  # untyped base
    """Has the answer to a commit wait, so that its callback comes in the call that served the assignment."""

    def incremental_assign(self, places: Any) -> None:
        super().incremental_assign(places)
        self.commit(offsets=[TopicPartition(TOPIC, 0, 0)], asynchronous=True)
        time.sleep(1.0)


class Told:
    """Waits for its partitions."""

    def __init__(self) -> None:
        self.given = asyncio.Event()

    async def hand_on(self, chunks: Sequence[Chunk]) -> None: ...

    async def hand_over(self) -> None: ...

    def assigned(self, partitions: Sequence[Partition], *, given: bool) -> None:
        if given and partitions:
            self.given.set()

    def lost(self) -> None: ...

    def was_reset(self, partition: Partition, reset: Reset) -> None: ...

    def login_told(self, reason: str | None) -> None: ...


async def _join_and_leave(address: str) -> None:
    told = Told()
    consumer = GroupConsumer(
        KafkaSettings(bootstrap_servers=address),
        TOPIC,
        most_records=1000,
        most_bytes=100_000,
        listener=told,
        make_client=CommitsMeanwhile,
    )
    async with asyncio.timeout(WITHIN_S):
        ended = consumer.start()
        await told.given.wait()
        consumer.stop()
        await ended


async def test_an_answer_to_a_commit_may_come_in_the_call_that_gives_partitions() -> None:
    async with EmbeddedBroker(topics=[TOPIC]) as broker:
        # In a process of its own: an abort is no exception.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, broker.address), stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


if __name__ == "__main__":
    asyncio.run(_join_and_leave(sys.argv[1]))
