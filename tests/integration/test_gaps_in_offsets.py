"""Gaps: what a log lacks is neither waited for nor stepped over wrongly, and what was missed is told."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.kafka.assignment import UNREADABLE
from support.collector import account, committed, ends
from support.faulty_clients import DROPS
from support.gaps import (
    RawName,
    Transactions,
    compact,
    delete_records,
    send_raw_names,
    set_committed,
)
from support.workers import QUICK, open_lane, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.collector import Sent
    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

pytestmark = pytest.mark.kafka

_TESTS = str(Path(__file__).parents[1])

_COMMITS_S = 5 * float(QUICK["kafka.commit_interval_s"])


@pytest.fixture
def narrow(kafka: ApacheKafka, tmp_path: Path) -> Iterator[Lane]:
    """A lane with one input partition."""
    with open_lane(kafka, tmp_path, partitions=1) as lane:
        yield lane


def posts(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "text": f"text of {name}"} for name in names]


def many(name: str, count: int) -> list[dict[str, Any]]:
    return posts(*(f"{name}-{number}" for number in range(count)))


def at_end(lane: Lane) -> bool:
    return committed(lane.bootstrap, lane.group, lane.posts) == ends(lane.bootstrap, lane.posts)


def require_all_answered(lane: Lane, sent: list[Sent], *, repeats: int | None = 0) -> None:
    found = account(sent, lane.read())
    assert found.lost == ()
    assert found.unasked == 0
    assert found.repeats_other_id == 0
    assert repeats is None or found.repeats_same_id == repeats


def logged(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    lines = [line for line in worker.output.splitlines() if f'"{event}"' in line]
    return [found for found in map(json.loads, lines) if found.get("event") == event]


def test_committed_transactions_are_answered_and_aborted_ones_never_seen(narrow: Lane) -> None:
    lane = narrow
    worker = lane.start()
    worker.wait_ready()
    sent = []
    with (
        Transactions(lane.bootstrap, lane.posts) as first,
        Transactions(lane.bootstrap, lane.posts) as second,
    ):
        for turn in range(5):
            sent += lane.send(many(f"plain-{turn}", 3))
            first.begin(many(f"kept-{turn}", 20))
            second.begin(many(f"never-{turn}", 20))  # the two stand among each other
            second.abort()
            sent += first.commit()
        second.begin(many("never-at-the-end", 30))
        second.abort()
    lane.wait_answers(len(sent), within_s=30)
    # Behind the last record stand aborted ones and a marker: the group has read them all the same.
    until("the group's lag is zero", lambda: at_end(lane), within_s=20)
    require_all_answered(lane, sent)
    assert worker.metric("sluicegate_records_missed_total") == 0


def test_no_marker_lets_a_commit_step_over_a_held_post(narrow: Lane) -> None:
    lane = narrow
    lane.set_faults(hang={"marker": "slow"})
    worker = lane.start()
    worker.wait_ready()
    sent = lane.send(posts("before"))
    with Transactions(lane.bootstrap, lane.posts) as transactions:
        transactions.begin(many("never", 3))
        transactions.abort()
        transactions.begin([{"id": "held", "text": "a slow one"}])
        (held,) = transactions.commit()
        transactions.begin(many("kept", 3))
        sent += [held, *transactions.commit()]
        transactions.begin(many("never-either", 3))
        transactions.abort()
        sent += lane.send(posts("behind"))
        transactions.begin(many("last", 3))
        transactions.abort()
    lane.wait_answers(len(sent) - 1, within_s=30)
    time.sleep(_COMMITS_S)
    assert committed(lane.bootstrap, lane.group, lane.posts)[0] <= held.offset
    worker.kill()

    lane.set_faults()
    lane.start().wait_ready()
    until("the group's lag is zero", lambda: at_end(lane), within_s=30)
    require_all_answered(lane, sent, repeats=None)


def test_an_open_transaction_is_waited_for_and_then_answered(narrow: Lane) -> None:
    lane = narrow
    worker = lane.start()
    worker.wait_ready()
    with Transactions(lane.bootstrap, lane.posts) as transactions:
        transactions.begin(many("open", 3))
        sent = lane.send(many("behind", 3))
        time.sleep(_COMMITS_S)
        assert lane.answers() == 0
        sent += transactions.commit()
    lane.wait_answers(len(sent), within_s=30)
    require_all_answered(lane, sent)


@pytest.mark.slow  # the brokers' log cleaner looks every 15 s
def test_gaps_of_a_compacted_topic_are_passed_and_no_held_post_stepped_over(narrow: Lane) -> None:
    lane = narrow
    sent = compact(lane)
    worker = lane.start({"micro_batch.posts": "1"})  # no neighbour hangs with the held one
    lane.set_faults(hang={"marker": "revised-7"})
    worker.wait_ready()
    held = [one.offset for one in sent if one.post_id == "revised-7"]  # the last segment is not compacted
    lane.wait_answers(len(sent) - len(held), within_s=30)
    time.sleep(_COMMITS_S)
    assert committed(lane.bootstrap, lane.group, lane.posts)[0] <= min(held)
    worker.kill()

    lane.set_faults()
    again = lane.start()
    again.wait_ready()
    until("the group's lag is zero", lambda: at_end(lane), within_s=30)
    require_all_answered(lane, sent, repeats=None)
    assert again.metric("sluicegate_records_missed_total") == 0


def test_what_retention_took_is_counted_and_named(lane: Lane) -> None:
    worker = lane.start()
    worker.wait_ready()
    sent = lane.send(many("read", 30))
    lane.wait_acknowledged(within_s=30)
    worker.terminate()
    assert worker.wait(20) == 0
    left_at = committed(lane.bootstrap, lane.group, lane.posts)

    missed = lane.send(many("missed", 300))
    log_start = {number: end - 7 * number for number, end in ends(lane.bootstrap, lane.posts).items()}
    delete_records(lane.bootstrap, lane.posts, log_start)
    sent += [one for one in missed if one.offset >= log_start[one.partition]]
    sent += lane.send(many("later", 30))

    again = lane.start()
    again.wait_ready()
    lane.wait_acknowledged(within_s=30)
    require_all_answered(lane, sent)
    expected = {number: start - left_at[number] for number, start in log_start.items()}
    assert again.metric("sluicegate_records_missed_total") == sum(expected.values())
    told = logged(again, "records_missed")
    assert {one["partition"]: one["records"] for one in told} == expected
    assert {(one["topic"], one["partition"], one["from_offset"], one["to_offset"]) for one in told} == {
        (lane.posts, number, left_at[number], start) for number, start in log_start.items()
    }
    assert {one["level"] for one in told} == {"error"}


def test_what_retention_takes_from_a_running_worker_is_counted(narrow: Lane) -> None:
    lane = narrow
    worker = lane.start({"kafka.session_timeout_s": "30"})
    worker.wait_ready()
    sent = lane.send(many("read", 5))
    lane.wait_acknowledged(within_s=30)
    os.kill(worker.pid, signal.SIGSTOP)  # it does not get to fetch what comes now
    passed = lane.send(many("passed", 200)) + lane.send(many("more", 200))
    delete_records(lane.bootstrap, lane.posts, {0: 300})
    os.kill(worker.pid, signal.SIGCONT)
    sent += lane.send(many("later", 20))
    lane.wait_acknowledged(within_s=30)
    answered = account(sent, lane.read()).verdicts
    missed = worker.metric("sluicegate_records_missed_total")
    assert missed > 0
    assert answered + missed == len(sent) + len(passed)
    assert sum(one["records"] for one in logged(worker, "records_missed")) == missed


def test_a_worker_whose_chunks_are_dropped_on_their_way_ends_and_commits_nothing_past_them(
    narrow: Lane,
) -> None:
    lane = narrow
    environment = {"PYTHONPATH": _TESTS, DROPS: "1"}
    worker = lane.start(environment=environment, module="support.faulty_clients")
    worker.wait_ready()
    sent = lane.send(many("dropped", 50))
    time.sleep(_COMMITS_S)
    assert worker.running  # nobody can know yet
    sent += lane.send(many("next", 1))
    until("the worker has ended", lambda: not worker.running, within_s=30)
    assert "were dropped on their way" in worker.output
    assert sum(committed(lane.bootstrap, lane.group, lane.posts).values()) == 0
    lane.start().wait_ready()
    until("the group's lag is zero", lambda: at_end(lane), within_s=30)
    require_all_answered(lane, sent, repeats=None)


def test_a_group_that_stands_behind_the_end_of_a_cut_log_answers_all_that_is_there(narrow: Lane) -> None:
    lane = narrow
    sent = lane.send(many("there", 50))
    set_committed(lane.bootstrap, lane.group, lane.posts, {0: 1000})
    worker = lane.start()
    worker.wait_ready()
    lane.wait_answers(50, within_s=30)
    sent += lane.send(many("later", 10))
    until("the group's lag is zero", lambda: at_end(lane), within_s=30)
    require_all_answered(lane, sent)
    assert worker.metric("sluicegate_records_missed_total") == 0
    assert [one["to_offset"] for one in logged(worker, "log_cut")] == [0]


@pytest.mark.parametrize("codec", [0, 4], ids=["plain", "zstd"])
async def test_a_header_whose_name_is_no_text_stops_neither_its_post_nor_its_neighbours(
    narrow: Lane, codec: int
) -> None:
    lane = narrow
    worker = lane.start()
    worker.wait_ready()
    odd = [("good", b"1"), (RawName(b"\xff\xfe name"), b"2"), ("last", None)]
    rows = [(one, odd if number in (3, 7) else []) for number, one in enumerate(many("post", 10))]
    sent = await send_raw_names(lane.bootstrap, lane.posts, rows, codec)
    broken = {"id": "", "text": "no post at all"}
    sent_broken = await send_raw_names(lane.bootstrap, lane.posts, [(broken, odd)], codec)
    sent += lane.send(many("behind", 5))
    lane.wait_answers(len(sent) + 1, within_s=30)
    lane.wait_acknowledged(within_s=30)
    records = lane.read()
    found = account([*sent, *sent_broken], records)
    assert found.lost == ()
    assert (found.verdicts, found.dead_letters) == (15, 1)
    (letter,) = [record.body for record in records if record.is_dead_letter]
    assert [name for name, _ in letter["headers"]] == [name for name, _ in UNREADABLE]
    assert worker.running


def test_a_damaged_batch_ends_the_worker_in_a_sentence_that_names_its_place(
    kafka: ApacheKafka, narrow: Lane
) -> None:
    lane = narrow
    lane.send(many("good", 5))
    lane.send(posts("damaged"))
    (log,) = kafka.folder.glob(f"node-1/data/{lane.posts}-0/*.log")
    raw = log.read_bytes()
    with log.open("r+b") as file:
        file.seek(raw.rindex(b"text of damaged"))
        file.write(b"TEXT")
    worker = lane.start()
    assert worker.wait(60) not in (0, None)
    assert "TEXT of damaged" not in worker.output
    last = worker.output.strip().splitlines()[-1]
    assert f"a batch of {lane.posts}/0 at offset 5 cannot be read" in last
    assert committed(lane.bootstrap, lane.group, lane.posts)[0] <= 5
