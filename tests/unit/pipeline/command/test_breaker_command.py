"""``sluicegate breaker`` against the embedded broker: what it says, and what it writes."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from sluicegate.pipeline import command
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.settings.tree import TopicSettings, load_settings
from unit.pipeline.test_facts import POLICY, TRIP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluicegate.pipeline.facts import BreakerFact
    from sluicegate.pipeline.kafka.reader import TopicRecord

CONTROL = TopicSettings().control
ELSEWHERE = "sha256:" + "c" * 64
TEENS = TRIP.model_copy(update={"tenant": "teens"})
OLDER = TRIP.model_copy(update={"policy": ELSEWHERE})


def run(bootstrap: str, *arguments: str) -> Result:
    cleared = dict.fromkeys(name for name in os.environ if name.startswith("SLUICEGATE_"))
    given = {"SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": bootstrap}
    return CliRunner().invoke(command.app, ["breaker", *arguments], env={**cleared, **given})


def publish(bootstrap: str, *trips: BreakerFact) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2})
    for trip in trips:
        producer.produce(CONTROL, trip.encode(), trip.key)
    assert producer.flush(20) == 0


def records(bootstrap: str) -> list[TopicRecord]:
    found: list[TopicRecord] = []
    kafka = load_settings(kafka={"bootstrap_servers": bootstrap}).kafka
    with TopicReader(kafka, [CONTROL], start="beginning") as reader:
        while not reader.at_end:
            found += reader.read(0.2)
    return found


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(topics=[CONTROL]) as started:
        yield started


async def call(broker: EmbeddedBroker, *arguments: str) -> Result:
    return await asyncio.to_thread(run, broker.address, *arguments)


async def states(broker: EmbeddedBroker) -> dict[tuple[str, str], tuple[str, int]]:
    done = await call(broker, "status", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(one["tenant"], one["policy"]): (one["state"], one["generation"]) for one in found}


async def test_one_tenant_is_reset_and_the_others_stay_open(broker: EmbeddedBroker) -> None:
    await asyncio.to_thread(publish, broker.address, TRIP, TEENS, OLDER)
    done = await call(broker, "reset", "forum", "--policy", POLICY, "--reason", "looked at")
    assert (done.exit_code, done.stdout) == (0, f"forum: reset, under policy {POLICY}\n")
    assert await states(broker) == {
        ("forum", POLICY): ("closed", 1),
        ("teens", POLICY): ("open", 0),
        ("forum", ELSEWHERE): ("open", 0),
    }
    one = await call(broker, "status", "--tenant", "teens")
    assert one.stdout.startswith("teens: open since 2026-01-01T00:00:00+00:00 by worker-1: 4 of 4 posts")
    every = await call(broker, "reset", "--all", "--reason", "a new model", "--json")
    assert {one["tenant"]: one["why"] for one in json.loads(every.stdout)} == {
        "forum": "a new model",
        "teens": "a new model",
    }
    assert {state for state, _ in (await states(broker)).values()} == {"closed"}


async def test_what_a_reset_supersedes_is_taken_off_the_topic(broker: EmbeddedBroker) -> None:
    await asyncio.to_thread(publish, broker.address, TRIP)
    await call(broker, "reset", "forum", "--reason", "one")
    await asyncio.to_thread(publish, broker.address, TRIP.model_copy(update={"generation": 1}))
    await call(broker, "reset", "forum", "--reason", "two")
    newest = {one.key: one.value for one in await asyncio.to_thread(records, broker.address)}
    left = [value for value in newest.values() if value is not None]
    assert [(json.loads(one)["state"], json.loads(one)["generation"]) for one in left] == [("closed", 2)]


async def test_what_makes_no_sense_is_said_and_nothing_written(broker: EmbeddedBroker) -> None:
    reason = ("--reason", "why")
    for wrong in (
        ("reset", *reason),
        ("reset", "forum", "--all", *reason),
        ("reset", "forum"),
        ("reset", "forum", "--reason", " "),
        ("reset", "forum", "--reason", "two\nlines"),
        ("reset", "forum", "--reason", "\x1b[2J"),
        ("reset", "forum", "--reason", "x" * 201),
    ):
        assert (await call(broker, *wrong)).exit_code == 2
    absent = await call(broker, "reset", "forum", *reason)
    assert (absent.exit_code, absent.stdout) == (1, "")
    assert "`sluicegate breaker status` shows which are" in absent.stderr
    assert (await call(broker, "status")).stdout == "no breaker has tripped\n"
    assert (await call(broker, "status", "--json")).stdout == ""
    assert await asyncio.to_thread(records, broker.address) == []
