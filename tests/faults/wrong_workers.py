"""Workers that break the promise, so that the suite can show that it would notice.

Run as ``WRONG_WORKER=<name> python -m faults.wrong_workers worker``, in place of ``sluicegate worker``:

``take``          Faust's plain ``take()``: acknowledged when the next batch is asked for, while verdicts are on
                  their way.
``out_of_order``  The real worker with a window that acknowledges each post as it finishes, past a held head.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from typing import TYPE_CHECKING, Any

import faust
import orjson
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from sluicegate.pipeline.command import main
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.server import OpsServer, Report
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.settings.tree import Settings, load_settings
from sluicegate.schemas import Post, decode_post

if TYPE_CHECKING:
    from collections.abc import Iterable

WHICH = "WRONG_WORKER"
TAKE, OUT_OF_ORDER = "take", "out_of_order"
_JUDGING_S = 1.0


def _finish_out_of_order(window: Window, slots: Iterable[Slot]) -> None:
    for slot in slots:
        if slot.released:
            continue
        window._rows[slot.delivery.partition].remove(slot)
        window._posts -= 1
        window._bytes -= slot.size_bytes
        window._oldest = None
        delivery: Any = slot.delivery
        # Never back: one micro-batch may finish before an earlier one, and the group would stay short of the end.
        if delivery.is_current and delivery.offset >= delivery.assignment.acknowledged:
            delivery.acknowledge()
    window._changed.set()


async def _take(settings: Settings) -> None:
    """Takes batches, judges each in a task of its own as one does for throughput, and asks for the next."""
    kafka = settings.kafka
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": "all", "linger.ms": 5})
    joined = asyncio.Event()
    judging: set[asyncio.Task[None]] = set()

    with tempfile.TemporaryDirectory() as data_folder:
        app: Any = faust.App(
            kafka.group,
            broker=f"aiokafka://{kafka.bootstrap_servers}",
            store="memory://",
            datadir=data_folder,
            web_enabled=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=kafka.commit_interval_s,
            broker_session_timeout=kafka.session_timeout_s,
            broker_heartbeat_interval=kafka.session_timeout_s / 10,
            broker_rebalance_timeout=kafka.rebalance_timeout_s,
        )
        topic = app.topic(settings.topics.posts, value_serializer="raw", value_type=bytes)

        async def path(stream: Any) -> None:
            async for values in stream.take(100, within=0.1):
                task = asyncio.create_task(_judge(producer, settings, values))
                judging.add(task)
                task.add_done_callback(judging.discard)

        async def assigned(_app: Any, _partitions: set[Any], **_kwargs: Any) -> None:
            joined.set()

        app.agent(topic)(path)
        app.on_partitions_assigned.connect(assigned, weak=False)
        ops = OpsServer(
            settings.ops,
            CollectorRegistry(),
            livez=lambda: Report(ok=True, body={}),
            readyz=lambda: Report(ok=joined.is_set(), body={}),
        )
        async with ops:
            app.finalize()
            await app.start()
            await _told_to_stop()
            await app.stop()
    producer.flush(5)


async def _judge(producer: Any, settings: Settings, values: list[bytes]) -> None:
    await asyncio.sleep(_JUDGING_S)
    for value in values:
        post = decode_post(value, limit_bytes=settings.limits.post_bytes)
        if isinstance(post, Post):
            producer.produce(settings.topics.allow, orjson.dumps(_verdict(post)), key=post.id)
    producer.poll(0)


def _verdict(post: Post) -> dict[str, Any]:
    return {
        "verdict_id": f"of-{post.id}",
        "post_id": post.id,
        "tenant": post.tenant,
        "revision": post.revision,
        "action": "allow",
        "judged_at": "",
    }


async def _told_to_stop() -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()


if __name__ == "__main__":
    if os.environ[WHICH] == TAKE:
        asyncio.run(_take(load_settings(None)))
    else:
        Window.finish = _finish_out_of_order  # type: ignore[method-assign, assignment]  # that is what is wrong with it
        main()
