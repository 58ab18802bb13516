"""Dead letters again, without a broker: selecting, restoring, noting, and the run over a producer in memory."""

from __future__ import annotations

import base64
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.pipeline.command import replaying
from sluicegate.pipeline.dead_letters import (
    FIRST_REJECTED,
    REPLAYED_FROM,
    TRIES,
    Original,
    ReplayNote,
    Selection,
    identity,
    line,
    original,
    page,
    replayed_from,
    tries_of,
)
from sluicegate.pipeline.flow.decision import bury
from sluicegate.pipeline.kafka.producer import Placed, Refused
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import DeadLetter, ReasonCode, Rejection, encode
from support.events import dead_letters
from unit.pipeline.fakes import MemoryDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
OWN = (REPLAYED_FROM, TRIES, FIRST_REJECTED)
header_lists = st.lists(
    st.tuples(st.sampled_from(["a", "traceparent", *OWN]), st.none() | st.binary(max_size=9)),
    max_size=4,
)


def buried(
    offset: int = 7,
    value: bytes = b"{bad",
    key: bytes | None = b"k",
    headers: Sequence[tuple[str, bytes | None]] = (),
    *,
    payload_bytes: int = 1000,
) -> DeadLetter:
    delivery = MemoryDelivery(offset, value, key=key, headers=headers)
    return bury(delivery, Rejection(ReasonCode.INVALID_JSON, "why"), payload_bytes=payload_bytes, now=NOW)


@given(value=st.binary(max_size=50), key=st.none() | st.binary(max_size=20), headers=header_lists)
def test_a_buried_record_comes_back_as_it_was_with_headers_of_ours(
    value: bytes, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    letter = buried(value=value, key=key, headers=headers)
    again = original(letter)
    assert isinstance(again, Original)
    assert (again.key, again.value) == (key, value)
    theirs = [one for one in headers if one[0] not in OWN]
    assert list(again.headers[:-3]) == theirs
    assert again.headers[-3:] == (
        (REPLAYED_FROM, letter.dead_letter_id.encode()),
        (TRIES, str(letter.tries + 1).encode()),
        (FIRST_REJECTED, NOW.isoformat().encode()),
    )


def test_each_round_trip_counts_one_try_more_and_keeps_one_set_of_headers() -> None:
    letter = buried(headers=[("a", b"1")])
    for tries in (1, 2, 3):
        assert letter.tries == tries
        again = original(letter)
        assert isinstance(again, Original)
        assert [name for name, _ in again.headers] == ["a", *OWN]
        before, letter = letter, buried(10 + tries, again.value, again.key, again.headers)
        assert replayed_from(letter) == before.dead_letter_id


def test_headers_of_ours_do_not_come_back_whatever_stands_behind_their_names() -> None:
    # librdkafka ends a name at its first NUL.
    given = [(f"{TRIES}\0", b"7"), (f"{REPLAYED_FROM}\0x", b"x"), ("mine", b"1")]
    again = original(buried(headers=given))
    assert isinstance(again, Original)
    assert [name for name, _ in again.headers] == ["mine", *OWN]


@pytest.mark.parametrize("said", [None, b"", b"-3", b"0", b"2.0", b"1e3", b"\xb2", b"9" * 7, b" 2"])
def test_a_forged_count_of_tries_counts_as_the_first(said: bytes | None) -> None:
    assert buried(headers=[(TRIES, said)]).tries == 1
    assert tries_of([(TRIES, b"12"), (TRIES, b"99")]) == 12


def test_the_first_time_is_kept_however_often_a_record_comes_back() -> None:
    letter = buried()
    for days in (1, 2, 3):
        again = original(letter)
        assert isinstance(again, Original)
        later = NOW + timedelta(days=days)
        letter = bury(
            MemoryDelivery(days, again.value, key=again.key, headers=again.headers),
            Rejection(ReasonCode.INVALID_JSON, "why"),
            payload_bytes=100,
            now=later,
        )
        assert (letter.first_rejected_at, letter.rejected_at) == (NOW, later)
    assert f"first rejected at: {NOW.isoformat()}\n" in page(letter, text=False)


def test_a_letter_that_tells_no_first_time_has_the_one_it_tells() -> None:
    older = buried().model_copy(update={"first_rejected_at": None})
    again = original(older)
    assert isinstance(again, Original)
    assert dict(again.headers)[FIRST_REJECTED] == NOW.isoformat().encode()
    assert f"first rejected at: {NOW.isoformat()}\n" in page(older, text=False)


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"",
        b"the text of a post",
        b"\xff",
        b"2026-01-01T00:00:00",
        b"9999-12-31T23:59:59-12:00",
        b"0001-01-01T00:00:00+14:00",
        b"2025-01-01T00:00:00+00:00" + b" " * 20,
    ],
)
def test_a_forged_first_time_counts_as_now(said: bytes | None) -> None:
    letter = buried(headers=[(FIRST_REJECTED, said)])
    assert letter.first_rejected_at == letter.rejected_at == NOW


def test_a_first_time_of_another_offset_is_kept_in_utc() -> None:
    letter = buried(headers=[(FIRST_REJECTED, b"2020-01-01T05:30:00+05:30")])
    assert letter.first_rejected_at == datetime(2020, 1, 1, tzinfo=UTC)
    assert DeadLetter.model_validate_json(encode(letter)) == letter


@pytest.mark.parametrize("said", [None, b"", b"the text of a post", b"\xff"])
def test_a_forged_origin_of_a_replay_is_none(said: bytes | None) -> None:
    letter = buried(headers=[(REPLAYED_FROM, said)])
    assert replayed_from(letter) is None
    assert "replayed from: -\n" in page(letter, text=False)


@pytest.mark.parametrize(
    "letter",
    [
        buried(value=b"x" * 11, payload_bytes=10),
        buried(key=b"k" * 1025),
        buried(headers=[("h", b"v")] * 33),
        buried(headers=[("h", b"v" * 1025)]),
        buried(headers=[("h" * 1025, b"v")]),
    ],
    ids=["payload", "key", "number of headers", "header value", "header name"],
)
def test_a_record_of_which_anything_was_cut_is_refused(letter: DeadLetter) -> None:
    assert letter.truncated
    refusal = original(letter)
    assert isinstance(refusal, str)
    assert refusal.startswith("truncated")


def test_what_was_kept_of_a_truncated_payload_is_counted_exactly() -> None:
    for kept in range(1, 8):
        assert f"truncated: {kept} of 20 " in str(original(buried(value=b"x" * 20, payload_bytes=kept)))


@pytest.mark.parametrize(
    "change",
    [
        {"payload": base64.b64encode(b"other").decode()},
        {"payload": "no base64!"},
        {"key": "no base64!"},
        {"headers": (("h", "no base64!"),)},
    ],
)
def test_a_dead_letter_that_somebody_altered_is_refused(change: dict[str, Any]) -> None:
    assert isinstance(original(buried().model_copy(update=change)), str)


def inert(text: str) -> bool:
    return all(unicodedata.category(one)[0] != "C" and one not in "\u2028\u2029" for one in text)


@given(letter=dead_letters)
@settings(max_examples=50)
def test_every_dead_letter_can_be_looked_at_and_no_text_leaves_its_line(letter: DeadLetter) -> None:
    assert inert(line(letter))
    for text in (False, True):
        rows = page(letter, text=text).split("\n")
        assert all(map(inert, rows))
        assert len(rows) == 12 + len(letter.headers)
    original(letter)


def test_a_page_holds_key_headers_and_payload_only_when_asked() -> None:
    letter = buried(value=b"\x1b[2Jpay\nload\xff", key=b"keyword", headers=[("h", b"worth")])
    hidden, shown = page(letter, text=False), page(letter, text=True)
    assert not any(one in hidden for one in ("[2J", "keyword", "worth"))
    assert "payload: \\x1b[2Jpay\\x0aload\\xff" in shown
    assert "key: keyword\nheader h: worth\n" in shown


@pytest.mark.parametrize(
    ("selection", "admitted"),
    [
        (Selection(), True),
        (Selection(ids=frozenset({"x"})), False),
        (Selection(ids=frozenset({buried().dead_letter_id})), True),
        (Selection(codes=frozenset({"oversize"})), False),
        (Selection(codes=frozenset({"oversize", "invalid_json"})), True),
        (Selection(topic="post"), False),
        (Selection(topic="posts", partition=0), True),
        (Selection(partition=1), False),
        (Selection(since=NOW), True),
        (Selection(until=NOW), False),
        (Selection(since=NOW.replace(hour=9)), False),
        (Selection(until=NOW.replace(hour=9)), True),
    ],
)
def test_a_selection_admits_what_every_part_of_it_admits(selection: Selection, admitted: bool) -> None:
    assert selection.admits(buried()) is admitted


@given(
    value=st.none()
    | st.binary(max_size=30)
    | st.sampled_from([b"[]", b"{}", b'{"kind":"deadletter-replay"}'])
)
def test_what_is_no_note_on_the_control_topic_is_passed_over(value: bytes | None) -> None:
    assert ReplayNote.decode(value) is None
    assert ReplayNote.decode(ReplayNote("posts", "then").encode()) == ReplayNote("posts", "then")


class MemoryProducer:
    """Takes records, or refuses those for some topics."""

    def __init__(self, refuses: frozenset[str] = frozenset()) -> None:
        self.refuses = refuses
        self.records: list[tuple[str, bytes]] = []
        self.where: list[int | None] = []

    def put(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        headers: object,
        *,
        report: Callable[[Placed | Refused], None],
        partition: int | None,
    ) -> None:
        del key, headers
        if topic in self.refuses:
            report(Refused("_MSG_TIMED_OUT"))
            return
        self.records.append((topic, value))
        self.where.append(partition)
        report(Placed(topic, 0, 0))

    def flush(self) -> int:
        return 0

    def partitions(self) -> dict[str, int]:
        return dict.fromkeys(("posts", "other"), 1)


def replay(
    monkeypatch: pytest.MonkeyPatch,
    letters: list[DeadLetter],
    producer: MemoryProducer,
    notes: dict[str, ReplayNote] | None = None,
    **how: Any,
) -> list[str]:
    monkeypatch.setattr(replaying, "Producer", lambda _kafka: producer)
    options = {"to": None, "again": False, "dry_run": False, "limit": None} | how
    run = replaying.LetterReplay(Settings(), notes or {}, **options)
    return [outcome.did for outcome in run.run(iter(letters))]


def test_what_this_run_sent_is_not_followed_when_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # More than are sent together, so that the first have gone when the last is read.
    first = [buried(number) for number in range(60)]
    again = original(first[0])
    assert isinstance(again, Original)
    back = buried(99, again.value, again.key, again.headers)
    did = replay(monkeypatch, [*first, back], MemoryProducer())
    assert sorted(did) == ["came back", *["replayed"] * 60]
    assert replay(monkeypatch, [back], MemoryProducer()) == ["replayed"]


def test_what_is_not_delivered_is_not_noted_and_what_is_not_noted_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer = MemoryProducer(refuses=frozenset({"posts"}))
    assert replay(monkeypatch, [buried()], producer) == ["not delivered"]
    assert producer.records == []
    producer = MemoryProducer(refuses=frozenset({"sluicegate.control"}))
    assert replay(monkeypatch, [buried()], producer) == ["not noted"]
    assert [topic for topic, _ in producer.records] == ["posts"]
    assert {"not delivered", "not noted", "refused"} == replaying.TROUBLES


def test_a_note_counts_for_this_record_only(monkeypatch: pytest.MonkeyPatch) -> None:
    letter = buried()
    notes = {identity(letter): ReplayNote("posts", "then")}
    assert replay(monkeypatch, [letter], MemoryProducer(), notes) == ["already replayed"]
    assert replay(monkeypatch, [letter], MemoryProducer(), notes, again=True) == ["replayed"]
    # The topic was made anew: another record has the same place, and the same id.
    assert replay(monkeypatch, [buried(value=b"{worse")], MemoryProducer(), notes) == ["replayed"]


def test_a_limit_counts_what_is_sent_and_not_what_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = [buried(number) for number in range(5)]
    notes = {identity(letters[0]): ReplayNote("posts", "then")}
    for dry_run, did in ((False, "replayed"), (True, "would be replayed")):
        producer = MemoryProducer()
        found = replay(monkeypatch, letters, producer, notes, limit=2, dry_run=dry_run)
        assert found == ["already replayed", did, did]
        assert len(producer.records) == (0 if dry_run else 4)  # each with its note


def test_a_record_goes_to_its_own_partition_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    letter = buried()
    far = letter.model_copy(update={"origin": letter.origin.model_copy(update={"partition": 5})})
    producer = MemoryProducer()
    assert replay(monkeypatch, [letter, far], producer) == ["replayed"] * 2
    assert producer.where[:2] == [0, None]
    elsewhere = MemoryProducer()
    assert replay(monkeypatch, [letter], elsewhere, to="other") == ["replayed"]
    assert elsewhere.records[0] == ("other", b"{bad")
    assert elsewhere.where[0] is None
    assert replay(monkeypatch, [letter], MemoryProducer(), to="nowhere") == ["refused"]
