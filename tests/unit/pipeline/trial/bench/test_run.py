"""When a run ends, and what it says of that."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.errors import ClusterError, DemoError
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.pipeline.trial.bench.places import LoadPlace, cluster
from sluicegate.pipeline.trial.bench.run import INTERRUPTED, Load, RunProgress, _RunWatch, _Stop, run_bench
from unit.pipeline.trial.bench.records import TOPICS, ledger, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluicegate.pipeline.kafka.reader import TopicRecord
    from sluicegate.pipeline.trial.bench.ledger import Ledger


@dataclass
class FakeSender:
    """Is done, unless told otherwise."""

    alive: bool = False
    fault: Exception | None = None

    def is_alive(self) -> bool:
        return self.alive


@dataclass
class FakeReader:
    """Gives what it was given, then nothing; or what it was told to raise."""

    batches: list[list[TopicRecord]] = field(default_factory=list)
    fault: Exception | None = None
    after: Callable[[], None] = lambda: None
    """Called once there is nothing more."""

    def read(self, _timeout_s: float) -> list[TopicRecord]:
        if self.fault is not None:
            raise self.fault
        if not self.batches:
            self.after()
        return self.batches.pop(0) if self.batches else []


async def no_metrics() -> list[str]:
    return []


async def follow(
    found: Ledger,
    *,
    reader: FakeReader,
    sender: FakeSender,
    settle_s: float = 0.02,
    stop: _Stop | None = None,
    **place: Any,
) -> str:
    where = LoadPlace(KafkaSettings(), TOPICS, no_metrics, **place)
    load = Load(found.arrivals, lambda: iter(()), patience_s=0.05, settle_s=settle_s)
    watch = _RunWatch(where, load, found, reader, sender)  # type: ignore[arg-type]  # fakes
    return await watch.follow(RunProgress(io.StringIO()), stop or _Stop())


async def test_a_run_ends_when_all_is_answered_and_repeats_that_follow_at_once_still_count() -> None:
    found = ledger(2)
    batches = [[verdict(found, 0)], [verdict(found, 1)], [verdict(found, 1)]]
    assert await follow(found, reader=FakeReader(batches), sender=FakeSender()) == ""
    assert (found.answered, found.repeats_same_id) == (2, 1)


async def test_repeats_count_for_as_long_as_was_asked_and_ctrl_c_ends_that() -> None:
    found, stop = ledger(1), _Stop()
    reader = FakeReader([[verdict(found, 0)], [], [], [verdict(found, 0, topic=TOPICS.block)]])
    reader.after = partial(setattr, stop, "wanted", True)
    said = await follow(found, reader=reader, sender=FakeSender(), settle_s=3_600, stop=stop)
    assert (said, found.contradictions) == (INTERRUPTED, 1)


async def test_nothing_is_read_beyond_the_settling() -> None:
    found = ledger(1)
    reader = FakeReader([[verdict(found, 0)], [verdict(found, 0)]])
    assert await follow(found, reader=reader, sender=FakeSender(), settle_s=0) == ""
    assert (found.answered, found.repeats_same_id) == (1, 0)


async def test_an_input_topic_that_does_not_exist_ends_the_run_before_it_is_made_by_sending() -> None:
    async with EmbeddedBroker(TOPICS.outputs) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.address)
        load = Load(ledger(1).arrivals, lambda: iter([b"{}"]), patience_s=0.05, settle_s=0)
        progress = io.StringIO()
        with pytest.raises(
            ClusterError, match=r"topic posts is not there, or not for this user; `sluicegate topics create`"
        ):
            await run_bench(cluster(kafka, TOPICS, ()), load, RunProgress(progress))
        assert progress.getvalue() == ""
        with pytest.raises(ClusterError), TopicReader(kafka, [TOPICS.posts], start="end"):
            pass


async def test_a_run_ends_when_nothing_comes_for_as_long_as_patience_lasts() -> None:
    found = ledger(2)
    assert await follow(found, reader=FakeReader([[verdict(found, 0)]]), sender=FakeSender()) == ""
    assert found.waiting == 1


async def test_deadline_counts_from_the_end_of_the_sending() -> None:
    sender = FakeSender(alive=True)
    going = asyncio.create_task(follow(ledger(1), reader=FakeReader(), sender=sender))
    await asyncio.sleep(0.2)
    assert not going.done()
    sender.alive = False
    assert await going == ""


@pytest.mark.parametrize(
    "fault", [ClusterError("the topic has gone; make it again"), DemoError("the worker ended; see its log")]
)
async def test_a_place_that_is_no_more_ends_the_run_with_its_sentence(fault: Exception) -> None:
    def gone() -> None:
        raise fault

    sender = FakeSender(alive=True)
    assert await follow(ledger(1), reader=FakeReader(fault=fault), sender=sender) == str(fault)
    assert await follow(ledger(1), reader=FakeReader(), sender=sender, check=gone) == str(fault)


async def test_a_fault_of_ours_in_the_sender_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await follow(ledger(1), reader=FakeReader(), sender=FakeSender(fault=ZeroDivisionError()))


async def test_a_backlog_that_the_broker_would_forget_ends_the_run() -> None:
    found = ledger(10)  # of 100 bytes each
    sender = FakeSender(alive=True)
    said = await follow(found, reader=FakeReader(), sender=sender, most_backlog_bytes=900)
    assert "lower --rate or --duration" in said
    for number in range(2):
        found.add(verdict(found, number), read_ms=0)
    assert found.backlog_bytes == pytest.approx(800)
