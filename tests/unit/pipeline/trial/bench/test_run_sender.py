"""The sender: on time whatever the brokers do, and soon at an end when it is cut."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.kafka.producer import Placed, Refused
from sluicegate.pipeline.settings.tree import KafkaSettings
from sluicegate.pipeline.trial.bench import run as module
from sluicegate.pipeline.trial.bench.run import Sender
from unit.pipeline.trial.bench.records import ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluicegate.pipeline.trial.bench.ledger import Ledger


class FakeProducer:
    """Takes what it is told to."""

    full = 0
    left = 0
    refuses: tuple[int, ...] = ()

    def __init__(self, *_args: object, **_options: object) -> None:
        self.records: list[tuple[str, bytes, bytes]] = []
        self.flushed = threading.Event()
        self.made_ms = time.time() * 1000
        made.append(self)

    def send(self, topic: str, value: bytes, key: bytes, *, report: Callable[[Any], None]) -> bool:
        if FakeProducer.full:
            FakeProducer.full -= 1
            return False
        number = len(self.records)
        self.records.append((topic, key, value))
        report(
            Refused("MSG_SIZE_TOO_LARGE", fatal=False)
            if number in FakeProducer.refuses
            else Placed(topic, 0, 0)
        )
        return True

    def flush(self, _timeout_s: float) -> int:
        self.flushed.set()
        return FakeProducer.left

    def close(self, timeout_s: float) -> None:
        self.closed_s = timeout_s


made: list[FakeProducer] = []


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Producer", FakeProducer)
    monkeypatch.setattr(module, "_WARM_S", 0.05)
    monkeypatch.setattr(FakeProducer, "full", 0)
    monkeypatch.setattr(FakeProducer, "left", 0)
    monkeypatch.setattr(FakeProducer, "refuses", ())
    made.clear()


def fresh(posts: int, *, every_s: float = 0.001) -> Ledger:
    found = ledger(posts, sent=0)
    for number in range(posts):
        found.arrivals.at_s[number] = number * every_s
    return found


def sender(found: Ledger, values: Iterator[bytes]) -> Sender:
    return Sender(KafkaSettings(), "posts", values, found)


def test_every_post_is_sent_in_order_under_its_own_key_and_refusals_are_noted() -> None:
    FakeProducer.refuses = (1,)
    found = fresh(3)
    thread = sender(found, iter([b"a", b"b", b"c"]))
    thread.run()
    assert made[0].records == [
        ("posts", b"bench-run-0", b"a"),
        ("posts", b"bench-run-1", b"b"),
        ("posts", b"bench-run-2", b"c"),
    ]
    assert (found.sent, found.sent_bytes, found.refused, thread.fault) == (3, 3, 1, None)
    assert found.refusals == {"MSG_SIZE_TOO_LARGE": 1}
    assert found.stages["late"].count == 3


def test_a_full_queue_makes_posts_late_and_the_lateness_is_noted() -> None:
    FakeProducer.full = 30  # of 10 ms each
    found = fresh(2)
    sender(found, iter([b"a", b"b"])).run()
    assert found.sent == 2
    assert found.stages["late"].most_ms >= 200


def test_a_cut_ends_the_wait_for_an_arrival_and_what_comes_later_is_never_sent() -> None:
    found = fresh(3, every_s=3_600)
    thread = sender(found, iter([b"a", b"b", b"c"]))
    thread.start()
    while not found.sent:
        time.sleep(0.001)
    thread.cut()
    thread.join(10)
    assert not thread.is_alive()
    assert (found.sent, len(made[0].records), made[0].closed_s) == (1, 1, module._CUT_FLUSH_S)


def test_a_cut_ends_the_wait_for_a_full_queue_and_that_post_counts_as_refused() -> None:
    FakeProducer.full = 1_000_000
    found = fresh(2)
    thread = sender(found, iter([b"a", b"b"]))
    thread.start()
    while not found.sent:
        time.sleep(0.001)
    thread.cut()
    thread.join(10)
    assert not thread.is_alive()
    assert (found.sent, found.refused, found.settled) == (1, 1, True)
    assert found.refusals == {"_QUEUE_FULL": 1}


def test_a_cut_ends_the_last_flush_of_brokers_that_do_not_answer() -> None:
    FakeProducer.left = 1
    found = fresh(1)
    thread = sender(found, iter([b"a"]))
    thread.start()
    while not (made and made[0].flushed.is_set()):
        assert thread.is_alive(), "nothing was flushed in steps"
        time.sleep(0.001)
    assert thread.is_alive()
    thread.cut()
    thread.join(10)
    assert not thread.is_alive()
    assert made[0].closed_s == module._CUT_FLUSH_S


def test_the_last_flush_ends_some_time_after_the_last_report_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeProducer.left = 1
    monkeypatch.setattr(module, "_FLUSH_MORE_S", 0.01 - KafkaSettings().delivery_timeout_s)
    sender(fresh(1), iter([b"a"])).run()
    assert made[0].flushed.is_set()


def test_a_fault_of_the_file_is_kept_for_who_watches() -> None:
    def values() -> Iterator[bytes]:
        yield b"a"
        raise OSError(5, "gone")

    thread = sender(fresh(2), values())
    thread.run()
    assert isinstance(thread.fault, OSError)


def test_the_client_has_time_to_warm_up_before_the_clock_runs() -> None:
    found = fresh(1)
    thread = sender(found, iter([b"a"]))
    thread.run()
    assert found.began_ms - made[0].made_ms >= 45
    assert thread.began.is_set()


def test_a_cut_ends_the_warming_up_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WARM_S", 3_600)
    found = fresh(1)
    thread = sender(found, iter([b"a"]))
    thread.start()
    thread.cut()
    thread.join(10)
    assert not thread.is_alive()
    assert (found.sent, thread.began.is_set(), thread.fault) == (0, True, None)


def test_a_client_that_cannot_be_made_is_a_fault_and_nobody_waits_for_its_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_producer(*_args: object, **_options: object) -> None:
        raise ValueError("no such option")

    monkeypatch.setattr(module, "Producer", no_producer)
    thread = sender(fresh(1), iter([b"a"]))
    thread.run()
    assert (thread.began.is_set(), type(thread.fault)) == (True, ValueError)
