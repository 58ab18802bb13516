"""The contract's page against the code: its tables, its links, and its examples run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer

from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import (
    DeadLetter,
    FailureCode,
    Post,
    ReasonCode,
    Resolution,
    Verdict,
    decode_post,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
TOPICS = TopicSettings()


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def first_column(heading: str) -> list[str]:
    """Every name in the first column of the section's table."""
    cells = re.findall(r"^\| (`.+?) \|", section(heading), re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def example(heading: str, language: str = "python") -> str:
    blocks: list[str] = re.findall(
        rf"^```{language}[^\n]*\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 1
    return blocks[0]


def test_the_tables_name_every_field_and_code_and_nothing_else() -> None:
    assert first_column("What a producer sends") == list(Post.model_fields)
    assert first_column("What a consumer gets") == list(Verdict.model_fields)
    assert first_column("When a person decides") == list(Resolution.model_fields)
    assert first_column("When a post could not be scored") == [code.value for code in FailureCode]
    assert first_column("Dead letters") == [code.value for code in ReasonCode]
    assert set(re.findall(r"`(\w+)`", section("Dead letters"))) >= DeadLetter.model_fields.keys() - {
        "schema_version",
        "rejected_at",
    }
    assert first_column("Topics, keys and headers") == list(TOPICS.model_dump().values())


def test_the_example_post_is_one() -> None:
    assert isinstance(decode_post(example("What a producer sends", "json").encode()), Post)


@pytest.mark.parametrize("heading", ["A producer", "A consumer"])
def test_an_example_is_at_most_twenty_lines(heading: str) -> None:
    assert len(example(heading).splitlines()) <= 20


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(topics=list(TOPICS.model_dump().values())) as started:
        yield started


async def start(heading: str, broker: EmbeddedBroker) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example(heading),
        env={**os.environ, "KAFKA": broker.address},
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.timeout(60)
async def test_the_producer_of_the_page_sends_a_post(broker: EmbeddedBroker) -> None:
    process = await start("A producer", broker)
    assert await process.wait() == 0
    reader = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    reader.subscribe([TOPICS.posts])
    message = None
    while message is None or message.error():
        message = await asyncio.to_thread(reader.poll, 1.0)
    reader.close()
    post = decode_post(message.value())
    assert isinstance(post, Post)
    assert message.key() == post.id.encode()


def golden(name: str, **changes: object) -> Verdict:
    record = json.loads((ROOT / "tests" / "golden" / "v1.0" / "verdict" / f"{name}.json").read_text())
    return Verdict.model_validate_json(json.dumps({**record, **changes}))


@pytest.mark.timeout(60)
async def test_the_consumer_of_the_page_acts_on_what_counts_and_on_nothing_twice(
    broker: EmbeddedBroker,
) -> None:
    first = golden("allowed", judged_at="2026-03-01T08:30:01Z")
    overruled = golden("could_not_be_scored", judged_at="2026-03-01T08:30:00.5Z")
    newer = golden("could_not_be_scored", judged_at="2026-03-01T08:30:02Z")
    edit = golden("allowed", revision=1, judged_at="2026-03-01T08:30:00Z", disposition="warn")
    process = await start("A consumer", broker)
    assert process.stdout is not None
    producer = Producer({"bootstrap.servers": broker.address, "log_level": 2})
    try:
        # One after the other, each once the consumer has shown what it made of the last one: topics have no common order.
        for verdicts, expected in (
            ([(TOPICS.allow, first), (TOPICS.allow, first)], "allow default a-1 none"),
            ([(TOPICS.review, overruled), (TOPICS.review, newer)], "review default a-1 none"),
            ([(TOPICS.allow, edit)], "allow default a-1 warn"),
            (
                [(TOPICS.review, newer), (TOPICS.block, golden("blocked_with_everything"))],
                "block city.news thread/7#3 takedown",
            ),
        ):
            for topic, verdict in verdicts:
                producer.produce(topic, encode(verdict), verdict.post_id)
                producer.flush(10)
            assert (await process.stdout.readline()).decode().strip() == expected
    finally:
        process.terminate()
        await process.wait()
