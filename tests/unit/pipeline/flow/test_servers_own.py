"""Workers that have a server each, and one topic: what a text that ends every server costs all of them together."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.engines.protocol import Generation
from sluicegate.pipeline.facts import Death, Fact, Lease, Poison, read_fact
from sluicegate.pipeline.flow.adapter_state import CallOutcome
from sluicegate.pipeline.flow.servers import InWorkFile, Servers, prompt_name
from sluicegate.pipeline.flow.suspects import LEASE_S
from sluicegate.schemas import CATEGORIES
from unit.pipeline.fakes import HandClock

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.pipeline.flow.server_state import Permit
    from sluicegate.pipeline.flow.servers import Server

KILLER, INNOCENT, LATE, OTHER = (prompt_name("score", bytes([number])) for number in range(4))
WORKERS = 2
TEXTS = (KILLER, INNOCENT, LATE, OTHER)


class OneClock(HandClock):
    """Both times are moved by hand."""

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)


class OwnServer:
    """A worker with a server of its own, whose lives a test counts. Every call of it may be a copy of another's."""

    def __init__(self, topic: list[Fact], clock: OneClock, folder: Path | None = None) -> None:
        self.topic, self.clock = topic, clock
        self.heard = len(topic)
        self.life = 0
        self.follows = True
        self.running: dict[int, tuple[Permit, int]] = {}
        self.answered: set[str] = set()
        self.servers = Servers(clock, InWorkFile(folder) if folder is not None else None)
        backend = Backend(FakeEngine(), fake_prompter(), CATEGORIES, in_process=folder is not None)
        self.server: Server = self.servers.of(backend)
        self.servers.announce_to(topic.append)
        self.servers.follow(followed=True)
        self.state = self.server.state
        self.state.enrol(None, mute_calls=3, first_pause_s=0.0, on_change=lambda _state, _reason: None)
        self.state.seen(self.generation())

    def generation(self) -> Generation:
        return Generation(f"{id(self)} {self.life}", exclusive=True)

    def read(self) -> None:
        if self.follows:
            facts, self.heard = self.topic[self.heard :], len(self.topic)
            assert [read_fact(one.key, one.encode()) for one in facts] == facts
            for one in facts:
                self.servers.learn([one] if isinstance(one, Lease | Death | Poison) else [])

    def follow(self, *, followed: bool) -> None:
        self.follows = followed
        self.servers.follow(followed=followed)

    def left(self, keys: tuple[str, ...]) -> list[str]:
        return [key for key in keys if key not in self.answered and not self.state.prompts.is_poison(key)]

    def send(self, batch: int, keys: tuple[str, ...]) -> None:
        if batch in self.running:
            return
        left = self.left(keys)
        permit = self.state.admit(batch, None, left) if left else None
        if not left:
            self.state.leave(batch)
        if permit is not None:
            self.running[batch] = permit, self.life
        self.server.changed()

    def end(self, batch: int, killers: frozenset[str]) -> frozenset[str]:
        """What the server ended by; it is back at once."""
        permit, life = self.running.pop(batch, (None, 0))
        if permit is None:
            return frozenset()
        killed = killers & set(permit.keys) if life == self.life else frozenset()
        if life != self.life or killed:
            self.life += bool(killed)
            self.state.report(permit, CallOutcome.AWAY, reason="it crashed")
        else:
            self.answered |= set(permit.keys)
            self.state.report(permit, CallOutcome.ANSWERED)
        self.server.changed()
        return frozenset(permit.keys) if killed else frozenset()

    def end_process(self) -> None:
        """The engine takes its worker along, in the midst of a call."""
        self.server.note()
        self.crash()

    def crash(self) -> None:
        """The process ends, and the lock on its file with it."""
        file = self.server._file
        assert file is not None
        assert file._descriptor is not None
        os.close(file._descriptor)

    def look(self) -> None:
        if self.state.begin_asking(None):
            self.state.asked(None, healthy=True, generation=self.generation())
            self.server.changed()

    def step(self, what: str, batch: int, killers: frozenset[str]) -> frozenset[str]:
        """One thing that happens; what the server ended by with nothing else in its work."""
        if what == "send":
            self.send(batch, BATCHES[batch])
        elif what == "end":
            is_alone = batch in self.running and self.running[batch][0].one
            ended = self.end(batch, killers)
            return ended if is_alone else frozenset()
        elif what == "look":
            self.look()
        elif what == "read":
            self.read()
        elif what == "wait":
            self.clock.now += 0.5
        else:
            self.follow(followed=what == "back")
        return frozenset()

    def die_with(self, *keys: str) -> None:
        self.send(9, keys)
        assert self.end(9, frozenset(keys)) == set(keys)
        self.state.leave(9)
        while not self.state.met or self.state.admit(8, None, [OTHER]) is None:
            self.look()
        self.state.report(next(one for one in self.state._work), CallOutcome.NOTHING)
        self.state.leave(8)


def crew(count: int = 2) -> tuple[OneClock, list[OwnServer]]:
    clock, topic = OneClock(), list[Fact]()
    return clock, [OwnServer(topic, clock) for _ in range(count)]


def both_suspect() -> tuple[OneClock, OwnServer, OwnServer]:
    """Two workers, of which the first has the lease; both wait with a killer and innocents beside it."""
    clock, (first, second) = crew()
    first.die_with(KILLER, INNOCENT)
    second.die_with(KILLER, INNOCENT)
    for one in (first, second):
        one.read()
    for one in (first, second):
        one.send(0, (KILLER, LATE))
    for one in (first, second):
        one.read()
    assert first.state.lease.slot
    assert second.state.lease.lent
    return clock, first, second


def test_a_suspect_waits_until_its_claim_is_read_and_what_is_none_goes_on_meanwhile() -> None:
    _, first, _ = both_suspect()
    permit, _ = first.running[0]
    assert permit.keys == (LATE,)  # what was beside it in its micro-batch did not wait for the claim
    assert first.state.admit(0, None, [KILLER]) is None  # something is in work
    assert first.state.admit(2, None, [OTHER]) is None  # and nothing more is sent before it
    first.end(0, frozenset())
    alone = first.state.admit(0, None, [KILLER])
    assert alone is not None
    assert alone.one


def test_while_one_worker_asks_its_suspect_the_other_asks_all_but_its_own() -> None:
    _, first, second = both_suspect()
    first.end(0, frozenset())
    first.send(0, (KILLER,))
    assert second.running[0][0].keys == (LATE,)
    second.end(0, frozenset())
    second.send(0, (KILLER, LATE))
    assert 0 not in second.running
    assert "another worker asks its own engine" in second.state.reason(None)
    first.end(0, frozenset({KILLER}))
    first.look()
    second.read()
    assert second.state.prompts.is_poison(KILLER)
    assert first.life + second.life == 3


def test_a_worker_that_is_gone_with_its_lease_keeps_the_others_suspects_for_a_minute() -> None:
    clock, _, second = both_suspect()
    clock.now += LEASE_S - 1
    second.end(0, frozenset())
    second.send(0, (KILLER,))
    assert 0 not in second.running
    clock.now += 1
    second.send(0, (KILLER,))
    second.read()
    second.send(0, (KILLER,))
    assert 0 in second.running


def test_a_lease_is_kept_for_the_next_suspect_and_given_back_when_there_is_none_for_a_while() -> None:
    clock, first, second = both_suspect()
    first.end(0, frozenset())
    first.send(0, (KILLER,))
    first.end(0, frozenset())
    first.state.leave(0)
    clock.now += 9
    first.server.tend()
    assert first.state.lease.slot
    clock.now += 1
    first.server.tend()
    assert not first.state.lease.slot
    second.read()
    assert not second.state.lease.lent
    second.read()
    assert second.state.lease.slot


def test_a_worker_with_suspects_without_end_gives_the_others_their_turn() -> None:
    clock, first, second = both_suspect()
    second.end(0, frozenset())
    second.send(0, (KILLER,))
    for _ in range(3):
        clock.now += 14
        first.server.tend()
        first.read()
        second.read()
    second.read()
    assert second.state.lease.slot
    assert not first.state.lease.slot


def test_where_the_topic_is_away_a_suspect_is_asked_all_the_same() -> None:
    _, (alone,) = crew(1)
    alone.die_with(KILLER, INNOCENT)
    alone.die_with(KILLER, INNOCENT)
    alone.follow(followed=False)
    alone.send(0, (KILLER,))
    assert 0 in alone.running


def test_where_claims_reach_nobody_suspects_are_asked_after_thirty_seconds_unless_another_asks_them() -> None:
    clock, (mute, other) = crew()
    mute.die_with(KILLER, INNOCENT)
    mute.die_with(KILLER, INNOCENT)
    mute.servers.announce_to(lambda _fact: None)
    mute.send(0, (KILLER,))
    clock.now += 29
    mute.send(0, (KILLER,))
    assert 0 not in mute.running
    other.state.prompts.heard_of([OTHER], "a", 60)
    other.state.prompts.heard_of([OTHER], "b", 60)
    other.send(0, (OTHER,))
    mute.read()
    clock.now += 2
    mute.send(0, (KILLER,))
    assert 0 not in mute.running
    clock.now += LEASE_S
    mute.send(0, (KILLER,))
    assert 0 in mute.running


def test_the_lease_of_a_worker_that_its_engine_took_along_is_given_back_by_the_next_behind_what_it_knew(
    tmp_path: Path,
) -> None:
    clock, topic = OneClock(), list[Fact]()
    first = OwnServer(topic, clock, tmp_path)
    for death in ("a", "b"):
        first.state.prompts.heard_of([KILLER], death, 60)
    first.send(0, (KILLER,))
    first.read()
    first.send(0, (KILLER,))
    first.end_process()
    told = len(topic)
    OwnServer(topic, clock, tmp_path)
    assert [type(fact) for fact in topic[told:]] == [Death, Poison, Lease]
    last = topic[-1]
    claim = next(fact for fact in topic if isinstance(fact, Lease))
    assert isinstance(last, Lease)
    assert (last.state, last.holder, last.server) == ("closed", claim.holder, claim.server)


def test_a_claim_that_nobody_read_before_its_worker_ended_is_given_back_too(tmp_path: Path) -> None:
    clock, topic = OneClock(), list[Fact]()
    first = OwnServer(topic, clock, tmp_path)
    for death in ("a", "b"):
        first.state.prompts.heard_of([KILLER], death, 60)
    first.send(0, (LATE,))
    first.server.note()
    first.send(1, (KILLER,))
    assert not first.state.lease.slot
    first.crash()
    OwnServer(topic, clock, tmp_path)
    leases = [(fact.state, fact.holder) for fact in topic if isinstance(fact, Lease)]
    assert leases == [("open", leases[0][1]), ("closed", leases[0][1])]


def test_a_file_without_a_lease_gives_none_back(tmp_path: Path) -> None:
    clock, topic = OneClock(), list[Fact]()
    first = OwnServer(topic, clock, tmp_path)
    first.send(0, (KILLER,))
    first.end_process()
    OwnServer(topic, clock, tmp_path)
    assert [type(fact) for fact in topic] == [Death]


def test_two_servers_of_one_worker_do_not_give_back_each_others_lease() -> None:
    clock, topic = OneClock(), list[Fact]()
    servers = Servers(clock)
    servers.announce_to(topic.append)
    first, second = (servers.of(Backend(FakeEngine(), fake_prompter(), CATEGORIES)) for _ in range(2))
    servers.follow(followed=True)
    for death in ("a", "b"):
        first.state.prompts.heard_of([KILLER], death, 60)
    for one in (first, second):
        one.state.enrol(None, mute_calls=3, first_pause_s=0.0, on_change=lambda _state, _reason: None)
        one.state.seen(Generation("life", exclusive=True))
    assert first.state.admit(0, None, [KILLER]) is None
    first.tend()
    servers.learn([fact for fact in topic if isinstance(fact, Lease)])
    second.tend()
    assert first.state.lease.slot
    assert second.state.lease.lent
    assert len(topic) == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "end", "look", "read", "wait", "away", "back"]),
        st.integers(0, WORKERS - 1),
        st.integers(0, 1),
    ),
    max_size=80,
)
BATCHES = ((KILLER, INNOCENT), (LATE, OTHER))
ROUNDS = 1000
"""Of half a second: several leases that nobody gives back."""


def play(
    workers: list[OwnServer],
    killers: frozenset[str],
    steps: list[tuple[str, int, int]],
    *,
    at_once: bool = False,
) -> Counter[str]:
    """How often each killer ended a server while nothing else was in its work; all of them together.

    Args:
        workers: Of one topic.
        killers: What ends a server.
        steps: What happens before all of them do all that is left to do.
        at_once: Everybody reads what is told before anything else happens.
    """
    alone: Counter[str] = Counter()

    def do(what: str, number: int, batch: int) -> None:
        alone.update(workers[number].step(what, batch, killers))
        for reader in workers if at_once else ():
            reader.read()

    for step in steps:
        do(*step)
    for number in range(len(workers)):
        do("back", number, 0)
    for _ in range(ROUNDS):
        if not any(one.running or one.left(TEXTS) for one in workers):
            break
        for what in ("read", "look", "send", "end"):
            for number in range(len(workers)):
                for batch in range(len(BATCHES)):
                    do(what, number, batch)
        do("wait", 0, 0)
    return alone


@settings(max_examples=80, deadline=None)
@given(STEPS, st.frozensets(st.sampled_from(TEXTS), max_size=2))
@example([("send", 0, 0), ("send", 1, 0), ("end", 0, 0), ("end", 1, 0), ("look", 0, 0)], frozenset({KILLER}))
def test_a_killer_ends_a_bounded_number_of_servers_and_everybody_else_is_answered(
    steps: list[tuple[str, int, int]], killers: frozenset[str]
) -> None:
    _, workers = crew(WORKERS)
    play(workers, killers, steps)
    for one in workers:
        one.read()
        assert one.answered == set(TEXTS) - killers
        assert all(one.state.prompts.is_poison(key) for key in killers)
    # Each worker for itself needs three at most, though nobody hears of anybody.
    assert sum(one.life for one in workers) <= 3 * WORKERS * len(killers)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.frozensets(st.sampled_from(TEXTS), max_size=2))
def test_while_workers_hear_of_one_another_no_killer_is_asked_alone_by_two(
    steps: list[tuple[str, int, int]], killers: frozenset[str]
) -> None:
    _, workers = crew(WORKERS)
    alone = play(workers, killers, [one for one in steps if one[0] not in ("away", "back")], at_once=True)
    for key in killers:
        assert alone[key] <= 1
    # One in company, then one of each worker that sends a copy beside others meanwhile, and one alone.
    assert sum(one.life for one in workers) <= (WORKERS + 2) * len(killers)
