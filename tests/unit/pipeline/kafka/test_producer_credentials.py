"""A producer whose client is replaced: nothing is lost, and the order stays."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.settings.tree import KafkaSettings


class Client:
    """Delivers what is flushed, unless it is cut off; what is purged is told so."""

    made: list[Client]

    refused = False
    """True while librdkafka makes no client."""

    def __init__(self, config: dict[str, Any], *, logger: Any) -> None:
        if Client.refused:
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG))
        assert logger is not None
        self.config = config
        self.cut_off = False
        self.waiting: list[tuple[bytes, Any]] = []
        self.delivered: list[bytes] = []
        self.flushing = threading.Event()
        self.may_flush = threading.Event()
        self.may_flush.set()
        Client.made.append(self)

    def produce(self, _topic: str, value: bytes, _key: bytes | None, **options: Any) -> None:
        self.waiting.append((value, options["on_delivery"]))

    def poll(self, _timeout_s: float) -> None:
        """Nothing comes by itself."""

    def flush(self, _timeout_s: float) -> int:
        self.flushing.set()
        assert self.may_flush.wait(10)
        if not self.cut_off:
            waiting, self.waiting = self.waiting, []
            for value, on_delivery in waiting:
                self.delivered.append(value)
                on_delivery(None, Message())
        return len(self.waiting)

    def purge(self) -> None:
        waiting, self.waiting = self.waiting, []
        codes = [KafkaError._PURGE_INFLIGHT, *[KafkaError._PURGE_QUEUE] * len(waiting)]
        for (_, on_delivery), code in zip(waiting, codes, strict=False):
            on_delivery(KafkaError(code), None)


class Message:
    """A report's."""

    def topic(self) -> str:
        return "posts"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


class Due:
    """Credentials that want a new client when the test says so."""

    now = False
    missing = False
    """True while no client can be made with them."""

    def __init__(self, _kafka: KafkaSettings, **_told: Any) -> None:
        """Reads no file."""

    def config(self) -> dict[str, Any]:
        if Due.missing:
            raise SettingsError("the key file has gone")
        return {}

    def forget(self) -> None:
        Due.now = True

    def look(self, _client: Any) -> bool:
        due, Due.now = Due.now, False
        return due


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    Client.made = []
    Due.missing = Due.now = Client.refused = False
    monkeypatch.setattr("confluent_kafka.Producer", Client)
    monkeypatch.setattr("sluicegate.pipeline.kafka.producer.Credentials", Due)
    return Client.made


def test_what_the_client_before_cannot_deliver_is_sent_by_the_next_in_its_order(made: list[Client]) -> None:
    producer = Producer(KafkaSettings())
    reports: list[Placed | Refused] = []
    made[0].cut_off = True
    for value in (b"1", b"2", b"3"):
        assert producer.send("posts", value, report=reports.append)
    Due.now = True
    producer.poll()
    assert producer.send("posts", b"4", report=reports.append)
    assert reports == []
    assert producer.flush() == 0
    assert made[1].delivered == [b"1", b"2", b"3", b"4"]
    assert reports == [Placed("posts", 0, 7)] * 4


def test_a_record_that_was_reported_is_gone_without_the_collector(made: list[Client]) -> None:
    class Told:
        def __call__(self, _outcome: Placed | Refused) -> None:
            """Hears it."""

    producer, told = Producer(KafkaSettings()), Told()
    here = weakref.ref(told)
    gc.disable()
    try:
        assert producer.send("posts", b"1", report=told)
        del told
        assert here() is not None
        producer.flush()
        assert made[0].delivered == [b"1"]
        assert here() is None
    finally:
        gc.enable()


def test_what_the_client_before_delivers_is_sent_once(made: list[Client]) -> None:
    producer = Producer(KafkaSettings())
    reports: list[Placed | Refused] = []
    assert producer.send("posts", b"1", report=reports.append)
    Due.now = True
    producer.poll()
    producer.flush()
    assert (made[0].delivered, made[1].delivered) == ([b"1"], [])
    assert reports == [Placed("posts", 0, 7)]


def test_files_that_go_in_the_midst_of_a_replacement_end_no_reports(
    made: list[Client], caplog: pytest.LogCaptureFixture
) -> None:
    producer = Producer(KafkaSettings(), polls=True)
    told = threading.Event()
    Due.missing, Due.now = True, True
    try:
        deadline = time.monotonic() + 10
        while "polling failed" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "SettingsError" in caplog.text
        assert len(made) == 1
        Due.missing, Due.now = False, True
        while len(made) == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(made) == 2
        assert producer.send("posts", b"1", report=lambda _outcome: told.set())
    finally:
        producer.close(0.0)
    assert told.wait(10)


def test_a_client_that_librdkafka_does_not_make_is_tried_again(made: list[Client]) -> None:
    producer = Producer(KafkaSettings())
    Due.now = Client.refused = True
    with pytest.raises(KafkaException):
        producer.poll()
    Client.refused = False
    producer.poll()
    assert len(made) == 2
    assert producer.send("posts", b"1", report=lambda _outcome: None)


def test_nothing_is_sent_past_what_the_client_before_still_has_and_a_flush_waits_for_both(
    made: list[Client],
) -> None:
    producer = Producer(KafkaSettings())
    reports: list[Placed | Refused] = []
    first = made[0]
    first.cut_off = True
    assert producer.send("posts", b"1", report=reports.append)
    first.may_flush.clear()
    Due.now = True
    replacement = threading.Thread(target=producer.poll)
    replacement.start()
    assert first.flushing.wait(10)
    assert not producer.send("posts", b"2", report=reports.append)
    left: list[int] = []
    flush = threading.Thread(target=lambda: left.append(producer.flush()))
    flush.start()
    first.may_flush.set()
    replacement.join(10)
    flush.join(10)
    assert left == [0]
    assert made[1].delivered == [b"1"]


def test_a_purge_at_the_end_is_reported_as_refused(made: list[Client]) -> None:
    producer = Producer(KafkaSettings())
    reports: list[Placed | Refused] = []
    made[0].cut_off = True
    producer.send("posts", b"1", report=reports.append)
    assert producer.close(0.0) == 1
    assert reports == [Refused("_PURGE_INFLIGHT")]
    Due.now = True
    producer.poll()
    assert len(made) == 1
