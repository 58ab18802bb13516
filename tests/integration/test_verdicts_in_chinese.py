"""``sluicegate verdicts --format zh`` on the embedded broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

from confluent_kafka import Producer

from sluicegate.pipeline.client.renderings import RenderedFinding, from_chinese
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import Verdict
from support.command import run

GOLDEN = Path(__file__).parents[1] / "golden" / "v1.0" / "verdict"
TOPICS = TopicSettings()
SHOWN = {
    "blocked_with_everything": TOPICS.block,
    "could_not_be_scored": TOPICS.review,
    "response_with_refusal": TOPICS.allow,
}


def publish_and_read(address: str) -> str:
    producer = Producer({"bootstrap.servers": address, "log_level": 2})
    for name, topic in SHOWN.items():
        producer.produce(topic, (GOLDEN / f"{name}.json").read_bytes())
    assert producer.flush(20) == 0
    shown = ("verdicts", "--from", "beginning", "--no-follow", "--format", "zh")
    done = run(*shown, SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=address)
    done.check_returncode()
    return done.stdout


async def test_every_verdict_stands_in_chinese_under_its_post() -> None:
    async with EmbeddedBroker([*TOPICS.outputs]) as broker:
        output = await asyncio.to_thread(publish_and_read, broker.address)
    shown = {}
    for block in output.strip().split("\n\n"):
        post, _, finding = block.partition("\n")
        shown[post] = from_chinese(finding)
    verdicts = [Verdict.model_validate_json((GOLDEN / f"{name}.json").read_bytes()) for name in SHOWN]
    assert shown == {f"帖子：{one.tenant}/{one.post_id}": RenderedFinding.of(one) for one in verdicts}
