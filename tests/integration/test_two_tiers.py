"""The screen in the worker, and at the edge before a cluster of engines: on Apache Kafka, with the promise kept.

The screen goes by words (``support.scripted_screen``), so that every test knows what it says.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.pipeline.shortcuts.screening import is_sampled
from sluicegate.schemas import Post, content_hash
from support.collector import account, committed, ends, read
from support.scripted_screen import DIGEST
from support.workers import until

if TYPE_CHECKING:
    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

POLICY = """
name: two-tiers
version: "1"
rules:
  screen: {tolerance: 0.01}
  block_breaker: {share: null}   # the centre sees the hard ones alone
"""
RULES = {"[bad]": "unsafe", "hard": "safe", "easy": "safe"}
_SOON_S = 60.0
_TESTS = str(Path(__file__).parents[1])


def screened(lane: Lane, settings: dict[str, str]) -> WorkerProcess:
    """Start a worker with the scripted screen."""
    return lane.start(
        settings | {"screen.path": "any"}, {"PYTHONPATH": _TESTS}, module="support.scripted_screen"
    )


class Tiers:
    """An edge and a centre, with topics of their own."""

    def __init__(self, lane: Lane, kafka: ApacheKafka) -> None:
        self.lane = lane
        self.central = f"{lane.prefix}.central"
        self.group = f"{lane.group}.central"
        kafka.create_topic(self.central, 2)
        self._policy = lane.set_policy(POLICY)

    def edge(self, **screen: str) -> WorkerProcess:
        settings = {"worker.role": "screen", "topics.forward": self.central}
        settings |= {f"screen.{name}": value for name, value in screen.items()}
        return screened(self.lane, self._policy | settings)

    def centre(self) -> WorkerProcess:
        own = {"topics.posts": self.central, "kafka.group": self.group, "screen.from_edge": "true"}
        return self.lane.start(self._policy | own)

    def wait_done(self) -> None:
        """Wait until both tiers have acknowledged all that there is."""
        self.lane.wait_acknowledged(within_s=2 * _SOON_S)

        def behind() -> int:
            done = committed(self.lane.bootstrap, self.group, self.central)
            return sum(end - done[number] for number, end in ends(self.lane.bootstrap, self.central).items())

        until("the centre has acknowledged all", lambda: behind() == 0, within_s=2 * _SOON_S)

    def forwarded(self) -> int:
        return sum(ends(self.lane.bootstrap, self.central).values())


def text(number: int) -> str:
    return ("easy", "easy going", "hard", "hard [bad]")[number % 4] + f" {number}"


def posts(count: int) -> list[dict[str, Any]]:
    return [{"id": f"post-{number}", "text": text(number)} for number in range(count)]


def assessed_by(lane: Lane) -> dict[str, set[str]]:
    """Posts by who assessed them; after a rebalance some come from a cache."""
    found: dict[str, set[str]] = {}
    for one in lane.read():
        if not one.is_dead_letter:
            found.setdefault(one.body["assessed_by"], set()).add(one.body["post_id"])
    return found


def easy(sent: list[dict[str, Any]]) -> set[str]:
    """Those that the screen must answer: the easy ones that are no samples."""
    return {
        one["id"]
        for one in sent
        if "easy" in one["text"] and not is_sampled(content_hash(Post(**one)), ScreenSettings().sample_share)
    }


def test_a_worker_with_a_screen_that_is_killed_loses_nothing_and_repeats_alike(lane: Lane) -> None:
    lane.set_fake(call_overhead_s=0.1, rules=RULES)
    settings = lane.set_policy(POLICY)
    first, second = (screened(lane, settings) for _ in range(2))
    first.wait_ready()
    second.wait_ready()
    sent = lane.send(posts(4000))
    lane.wait_answers(800, within_s=_SOON_S)
    first.kill()
    assert lane.answers() < 4000, "the kill came too late to show anything"
    lane.wait_acknowledged(within_s=2 * _SOON_S)
    found = account(sent, lane.read())
    print(f"4,000 posts, one of two workers killed: {found.repeats_same_id} repeats with the same id")
    assert (found.lost, found.two_actions, found.repeats_other_id, found.unasked) == ((), (), 0, 0)
    by = assessed_by(lane)
    assert by["screen"] == easy(posts(4000))
    assert 0 < len(by["screen"]) < 2000  # some are samples
    assert by.keys() <= {"screen", "engine", "cache"}


def test_both_tiers_are_killed_under_load_and_every_post_is_answered(lane: Lane, kafka: ApacheKafka) -> None:
    lane.set_fake(call_overhead_s=0.1, rules=RULES)
    tiers = Tiers(lane, kafka)
    edge, centre = tiers.edge(), tiers.centre()
    edge.wait_ready()
    centre.wait_ready()
    broken = [b"{", b"\xff", b'{"id": "no text"}']
    lane.send(broken)
    sent = lane.send(posts(4000))
    lane.wait_answers(400, within_s=_SOON_S)
    edge.kill()
    second_edge = tiers.edge()
    until("the centre is at work", lambda: centre.metric("sluicegate_verdicts_total") > 100, within_s=_SOON_S)
    centre.kill()
    assert lane.answers() < 4000, "the kills came too late to show anything"
    second_centre = tiers.centre()
    second_edge.wait_ready()
    second_centre.wait_ready()
    tiers.wait_done()

    records = lane.read()
    found = account(sent, [one for one in records if not one.is_dead_letter])
    print(
        f"4,000 posts, edge and centre killed: {found.repeats_same_id} repeats with the same id, "
        f"{tiers.forwarded()} records forwarded"
    )
    assert (found.lost, found.two_actions, found.repeats_other_id, found.unasked) == ((), (), 0, 0)
    letters = [one.body for one in records if one.is_dead_letter]
    assert {base64.b64decode(one["payload"]) for one in letters} == set(broken)
    assert {one["origin"]["topic"] for one in letters} == {tiers.central}
    by = assessed_by(lane)
    assert by["screen"] == easy(posts(4000))
    assert by.keys() <= {"screen", "engine", "cache"}
    blocked = {one.body["post_id"] for one in records if one.body.get("action") == "block"}
    assert blocked == {one["id"] for one in posts(4000) if "[bad]" in one["text"]}
    stamps = {one.body["engine"]["digest"] for one in records if one.body.get("assessed_by") == "screen"}
    assert stamps == {DIGEST}


def status(lane: Lane) -> list[dict[str, Any]]:
    done = lane.command("screen", "status", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_screen_that_is_wrong_is_switched_off_at_the_edge_until_somebody_resets_it(
    lane: Lane, kafka: ApacheKafka
) -> None:
    lane.set_fake(rules=RULES)
    tiers = Tiers(lane, kafka)
    edge, centre = tiers.edge(sample_share="0.5"), tiers.centre()
    edge.wait_ready()
    centre.wait_ready()

    # A producer that speaks in the edge's name is not heard.
    forger = Producer({"bootstrap.servers": lane.bootstrap, "log_level": 2})
    for number in range(50):
        forged = json.dumps({"id": f"f{number}", "text": f"hard [bad] {number}"}).encode()
        forger.produce(
            lane.posts,
            forged,
            f"f{number}".encode(),
            headers=[("screen-said", f"allow {DIGEST} {DIGEST}".encode())],
        )
    assert forger.flush(20) == 0
    tiers.wait_done()
    assert centre.metric("sluicegate_screen_samples_total") == 0

    lane.send({"id": f"p{number}", "text": f"easy [bad] {number}"} for number in range(60))
    (turn,) = until("it is switched off", lambda: status(lane), within_s=_SOON_S)
    assert (turn["screen"], turn["state"]) == (DIGEST, "open")
    until("the edge knows", lambda: edge.metric("sluicegate_screen_off") == 1, within_s=_SOON_S)
    tiers.wait_done()

    edge.kill()
    edge = tiers.edge(sample_share="0.5")
    edge.wait_ready()
    assert edge.metric("sluicegate_screen_off") == 1
    before = tiers.forwarded()
    lane.send({"id": f"q{number}", "text": f"easy {number}"} for number in range(40))
    until("all go to the centre", lambda: tiers.forwarded() == before + 40, within_s=_SOON_S)

    done = lane.command("screen", "reset", DIGEST, "--reason", "looked at")
    assert (done.returncode, done.stdout) == (0, f"{DIGEST}: reset\n")
    until("the edge answers again", lambda: edge.metric("sluicegate_screen_off") == 0, within_s=_SOON_S)
    lane.send({"id": f"r{number}", "text": f"easy {number}"} for number in range(40))
    tiers.wait_done()
    by = {one.body["assessed_by"] for one in lane.read() if one.body["post_id"].startswith("r")}
    assert "screen" in by
    again = lane.command("screen", "reset", DIGEST, "--reason", "twice")
    assert again.returncode == 1
    assert "`sluicegate screen status`" in again.stderr


def test_what_is_forwarded_is_the_record_as_it_came_with_our_headers(lane: Lane, kafka: ApacheKafka) -> None:
    tiers = Tiers(lane, kafka)
    edge = tiers.edge(sample_share="1")
    edge.wait_ready()
    producer = Producer({"bootstrap.servers": lane.bootstrap, "log_level": 2})
    hard = b' {"id":"h",  "text":"hard"} '
    easy = b'{"id": "e", "text": "easy"}'
    for key, value in ((b"h", hard), (b"e", easy)):
        producer.produce(lane.posts, value, key, headers=[("traceparent", b"00-x"), ("mine", b"\x00")])
    assert producer.flush(20) == 0
    lane.wait_acknowledged(within_s=_SOON_S)
    found = {one.key: one for one in read(lane.bootstrap, [tiers.central])}
    assert found[b"h"].headers == {"traceparent": b"00-x", "mine": b"\x00", "screen-hops": b"1"}
    assert (found[b"e"].headers["screen-said"] or b"").startswith(f"allow {DIGEST} sha256:".encode())
    assert found[b"h"].body == json.loads(hard)
    assert edge.get("/livez")[0] == 200
    assert edge.metric("sluicegate_records_forwarded_total") == 2
    edge.terminate()
    assert edge.wait(30) == 0


def test_an_edge_without_a_second_topic_does_not_start(lane: Lane) -> None:
    settings = lane.set_policy(POLICY) | {"worker.role": "screen"}
    edge = screened(lane, settings | {"topics.forward": f"{lane.prefix}.absent"})
    assert edge.wait(60) == 1
    assert f"topic {lane.prefix}.absent is not there" in edge.output
