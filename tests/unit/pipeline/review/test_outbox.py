"""What was decided goes out: in its order, with its ids, and again where nobody knows whether it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.kafka.producer import Placed, Refused
from sluicegate.pipeline.review.outbox import Outbox, waiting
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from support.cases import Bench, judged, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluicegate.pipeline.review.store import ReviewStore


class Brokers:
    """In place of the producer: takes what it is given, or refuses some of it."""

    def __init__(self, refuse: Callable[[str], bool] = lambda _topic: False) -> None:
        self.sent: list[tuple[str, bytes, bytes, dict[str, bytes]]] = []
        self._refuse = refuse

    def put(
        self, topic: str, value: bytes, key: bytes, headers: Any, *, report: Callable[[Any], None]
    ) -> None:
        if self._refuse(topic):
            report(Refused("MSG_SIZE_TOO_LARGE"))
            return
        self.sent.append((topic, key, value, dict(headers)))
        report(Placed(topic, 0, len(self.sent) - 1))

    def flush(self) -> int:
        return 0


def decided(store: ReviewStore, number: int) -> Bench:
    bench = Bench(store)
    for name in range(number):
        text = post(f"post {name}")
        bench.take(text, judged(text))
    for case in bench.all():
        bench.answer(case.case_id)
    return bench


def outbox(store: ReviewStore) -> Outbox:
    return Outbox(KafkaSettings(), TopicSettings(), store)


def left(store: ReviewStore) -> int:
    with store.reading() as connection:
        return waiting(connection)


def publish(box: Outbox, brokers: Any) -> int:
    return box.publish(brokers)


def test_everything_goes_out_once_in_the_order_in_which_it_was_decided(store: ReviewStore) -> None:
    bench = decided(store, 3)
    made = [(row.key, row.record_id) for row in bench.sent()]
    brokers = Brokers()
    assert publish(outbox(store), brokers) == 6
    assert publish(outbox(store), brokers) == 0
    gone = [
        (key.decode(), headers["resolution-id"].decode())
        for topic, key, _, headers in brokers.sent
        if topic == "resolutions"
    ]
    assert gone == made
    assert {topic for topic, *_ in brokers.sent} == {"resolutions", "feedback"}
    versions = {topic: headers["schema-version"] for topic, *_, headers in brokers.sent}
    assert versions == {"resolutions": b"1.1", "feedback": b"1.2"}
    assert left(store) == 0
    assert [row.value for row in bench.sent("feedback")] == [None] * 3, "a text that was sent is not kept"


def test_what_is_cut_between_brokers_and_store_goes_out_again_with_the_same_id_and_bytes(
    store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(store, 1)
    brokers, box = Brokers(), outbox(store)
    with monkeypatch.context() as broken, pytest.raises(OperationalError):
        broken.setattr(store, "writing", _gone)
        publish(box, brokers)
    assert left(store) == 2
    publish(outbox(store), brokers)
    first, again = brokers.sent[:2], brokers.sent[2:]
    assert first == again
    assert left(store) == 0


def _gone() -> None:
    raise OperationalError("the process ends here", None, OSError())


def test_what_the_brokers_refuse_stays_and_the_rest_goes(store: ReviewStore) -> None:
    decided(store, 1)
    box = outbox(store)
    with pytest.raises(PipelineError, match="MSG_SIZE_TOO_LARGE"):
        publish(box, Brokers(refuse=lambda topic: topic == "feedback"))
    assert left(store) == 1
    assert publish(box, Brokers()) == 1
