"""What workers tell one another of engines' servers, and what outlives a worker."""

from __future__ import annotations

import asyncio
import fcntl
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.engines.protocol import Generation
from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.facts import Death, Fact, Lease, Poison, read_fact
from sluicegate.pipeline.flow.adapter_state import CallOutcome
from sluicegate.pipeline.flow.servers import InWorkFile, Servers, default_folder, prompt_name
from sluicegate.pipeline.flow.suspects import LEASE_S, REMEMBERED_S, LeaseState
from sluicegate.schemas import CATEGORIES
from unit.pipeline.fakes import HandClock

if TYPE_CHECKING:
    import pytest

    from sluicegate.pipeline.flow.server_state import Permit
    from sluicegate.pipeline.flow.servers import Server

NAME = prompt_name("score", b"a key")
OTHER = prompt_name("score", b"another key")
THIRD = prompt_name("score", b"a third key")


class Workers:
    """Workers on one shared server, and the order in which all of them read what they tell."""

    def __init__(self, count: int, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.topic: list[Fact] = []
        self.workers = [Servers(self.clock) for _ in range(count)]
        backend = Backend(FakeEngine(), fake_prompter(), CATEGORIES, server="http://one")
        self.servers = [worker.of(backend) for worker in self.workers]
        for worker in self.workers:
            worker.announce_to(self.topic.append)
            worker.follow(followed=True)
        for server in self.servers:
            server.state.enrol(None, mute_calls=3, first_pause_s=0.0, on_change=lambda _state, _reason: None)
            server.state.seen(Generation("life 0", exclusive=False))

    def read(self) -> None:
        topic, self.topic[:] = list(self.topic), []
        for fact in topic:
            assert read_fact(fact.key, fact.encode()) == fact
            for worker in self.workers:
                worker.learn([fact] if isinstance(fact, Lease | Poison | Death) else [])

    def suspect(self, server: Server) -> None:
        for life in (1, 2):
            permit = server.state.admit("visitor", None, [NAME, OTHER])
            assert permit is not None
            server.state.report(permit, CallOutcome.AWAY)
            while not server.state.begin_asking(None):
                pass
            server.state.asked(
                None, healthy=True, generation=Generation(f"{id(server)} {life}", exclusive=False, idle=True)
            )
        assert server.state.admit("visitor", None, [NAME, OTHER]) is None
        server.tend()


def test_the_first_claim_gives_the_server_to_one_worker_and_the_others_wait_until_it_gives_it_back() -> None:
    stand = Workers(3)
    first, second, bystander = stand.servers
    stand.suspect(first)
    stand.suspect(second)
    stand.read()
    assert first.state.lease.slot
    assert not second.state.lease.slot
    assert bystander.state.admit("post", None, [THIRD]) is None
    first.state.leave("visitor")
    first.changed()
    stand.read()
    assert bystander.state.admit("post", None, [THIRD]) is not None
    assert second.state.wants_lease


def test_a_claim_of_long_ago_keeps_nobody_out() -> None:
    stand = Workers(2)
    stand.suspect(stand.servers[0])
    (claim,) = [fact for fact in stand.topic if isinstance(fact, Lease)]
    old = claim.model_copy(update={"at": claim.at - timedelta(seconds=2 * LEASE_S + 1)})
    stand.workers[1].learn([old])
    assert not stand.servers[1].state.lease.lent
    late = claim.model_copy(update={"at": claim.at - timedelta(seconds=2 * LEASE_S - 30)})
    stand.workers[1].learn([late])
    assert stand.servers[1].state.lease.lent


def test_a_lease_that_is_read_again_after_the_topic_was_lost_is_no_younger_for_that() -> None:
    stand = Workers(2)
    owner, bystander = stand.servers
    stand.suspect(owner)
    (claim,) = [fact for fact in stand.topic if isinstance(fact, Lease)]
    for age_s, still in ((LEASE_S - 15, True), (LEASE_S, False)):
        old = claim.model_copy(update={"at": claim.at - timedelta(seconds=age_s)})
        for worker, server in zip(stand.workers, stand.servers, strict=True):
            server.state.lease.end()
            worker.follow(followed=False)
            worker.learn([old])
            worker.follow(followed=True)
        assert owner.state.lease.slot == still
        assert not owner.state.lease.in_force  # the others have not heard of it again, or it is nearly over
        assert bystander.state.lease.lent == still


def test_a_workers_own_lease_is_as_old_as_it_says_though_the_topic_is_followed() -> None:
    stand = Workers(1)
    (owner,) = stand.servers
    stand.suspect(owner)
    (claim,) = [fact for fact in stand.topic if isinstance(fact, Lease)]
    stand.workers[0].learn([claim.model_copy(update={"at": claim.at - timedelta(seconds=LEASE_S)})])
    assert not owner.state.lease.slot


def test_nobody_has_a_lease_that_nobody_claimed() -> None:
    lease = LeaseState(lambda: 0.0)
    assert (lease.slot, lease.lent, lease.in_force) == (False, False, False)


def test_what_is_in_work_is_kept_in_a_folder_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/var/elsewhere")
    assert default_folder() == Path(f"/var/elsewhere/sluicegate-{os.getuid()}")
    monkeypatch.delenv("TMPDIR")
    assert default_folder().name == f"sluicegate-{os.getuid()}"


def test_a_lease_that_is_read_again_ends_when_it_would_have_ended() -> None:
    now = 1000.0
    lease = LeaseState(lambda: now)
    lease.begin(ours=True)
    now += 39
    lease.begin(ours=True, age_s=39)
    now += 21
    assert not lease.slot
    lease.begin(ours=False, age_s=50)
    now += 9
    assert lease.lent
    now += 1
    assert not lease.lent


def test_a_lease_that_this_worker_gave_back_stays_given_back_when_both_are_read_again() -> None:
    stand = Workers(2)
    owner = stand.servers[0]
    stand.suspect(owner)
    told = list(stand.topic)
    stand.read()
    owner.state.leave("visitor")
    owner.changed()
    told += stand.topic
    stand.read()
    stand.workers[0].learn([fact for fact in told if isinstance(fact, Lease)])
    assert [fact.state for fact in told if isinstance(fact, Lease)] == ["open", "closed"]
    assert not owner.state.lease.slot


def test_where_claims_reach_nobody_suspects_are_asked_after_thirty_seconds_and_nobody_is_condemned() -> None:
    clock = HandClock()
    stand = Workers(1, clock)
    server = stand.servers[0]
    stand.suspect(server)

    def wait(seconds: int) -> Permit | None:
        permit = None
        for _ in range(seconds):
            clock.now += 1.0
            server.tend()
            if server.state.begin_asking(None):
                generation = Generation(f"{id(server)} 2", exclusive=False, idle=True)
                server.state.asked(None, healthy=True, generation=generation)
            permit = permit or server.state.admit("visitor", None, [NAME, OTHER])
        return permit

    assert wait(29) is None
    assert len([fact for fact in stand.topic if isinstance(fact, Lease)]) == 6  # claimed again and again
    permit = wait(2)
    assert permit is not None
    assert permit.one
    assert not permit.sole
    server.state.report(permit, CallOutcome.ANSWERED)
    assert server.state.admit("visitor", None, [OTHER]) is None  # the server is looked at before each
    stand.read()  # what was told is read in the end, and then a lease is worth something again
    assert server.state.lease.slot
    assert not server.state.lease.is_unheard


def test_a_claim_that_lost_against_another_was_heard() -> None:
    clock = HandClock()
    stand = Workers(2, clock)
    for server in stand.servers:
        stand.suspect(server)
    stand.read()
    clock.now += 31
    assert not any(server.state.lease.is_unheard for server in stand.servers)


def test_after_the_topic_was_lost_claims_are_tried_anew() -> None:
    clock = HandClock()
    stand = Workers(1, clock)
    stand.suspect(stand.servers[0])
    stand.workers[0].follow(followed=False)
    clock.now += 31
    stand.workers[0].follow(followed=True)
    assert not stand.servers[0].state.lease.is_unheard


def test_poison_that_one_worker_finds_is_known_to_all_for_ten_minutes_and_names_no_text() -> None:
    stand = Workers(2)
    for death in ("first", "second"):
        stand.servers[0].state.prompts.died_with([NAME], death, attributable=True)
    (fact,) = stand.topic
    assert isinstance(fact, Poison)
    assert fact.prompt == NAME
    stand.read()
    assert stand.servers[1].state.prompts.is_poison(NAME)
    late = Workers(1)
    late.workers[0].learn([fact.model_copy(update={"at": fact.at - timedelta(seconds=REMEMBERED_S)})])
    assert not late.servers[0].state.prompts.is_poison(NAME)


def test_a_death_that_two_workers_saw_counts_once_and_one_that_another_saw_counts_too() -> None:
    stand = Workers(3)
    first, second, other = stand.servers
    for server in (first, second):
        server.state.prompts.cleared([NAME])
        permit = server.state.admit(server, None, [NAME, OTHER])
        assert permit is not None
        server.state.report(permit, CallOutcome.AWAY)
    for server in (first, second):
        while not server.state.begin_asking(None):
            pass
        server.state.asked(None, healthy=True, generation=Generation("life 1", exclusive=False))
    stand.read()
    assert [len(one.state.prompts.known["tallies"][NAME].deaths) for one in stand.servers] == [1, 1, 1]
    assert not other.state.prompts.is_suspect(NAME)
    many = [prompt_name("score", bytes([number])) for number in range(100)]
    stand.servers[2]._died("0" * 16, [NAME, *many])
    assert len(stand.topic) == 3  # a record holds only so many names
    stand.read()
    assert all(one.state.prompts.is_suspect(NAME) for one in stand.servers)
    assert stand.servers[0].state.prompts.known["tallies"].keys() >= set(many)


def test_a_worker_without_the_topic_takes_no_lease() -> None:
    stand = Workers(1)
    stand.workers[0].follow(followed=False)
    server = stand.servers[0]
    for death in ("first", "second"):
        server.state.prompts.died_with([NAME], death, attributable=False)
    assert server.state.admit("visitor", None, [NAME]) is None  # its health is asked first
    assert server.state.begin_asking(None)
    server.state.asked(None, healthy=True, generation=Generation("life 0", exclusive=False))
    assert server.state.admit("visitor", None, [NAME]) is not None
    server.tend()
    assert stand.topic == []


def in_process(folder: Path) -> Server:
    servers = Servers(Clock(), InWorkFile(folder))
    server = servers.of(Backend(FakeEngine(), fake_prompter(), CATEGORIES, in_process=True))
    server.state.enrol(None, mute_calls=3, first_pause_s=0.0, on_change=lambda _state, _reason: None)
    asyncio.run(server.meet(FakeEngine()))
    return server


def crash(server: Server, *keys: str) -> None:
    """The process ends in the midst of a call: its lock ends with it, and its file stays."""
    permit: Permit | None = server.state.admit("visitor", None, keys)
    assert permit is not None
    server.note()
    file = server._file
    assert file is not None
    assert file._descriptor is not None
    os.close(file._descriptor)


def test_what_an_engine_in_process_had_in_work_outlives_the_worker_and_the_third_crash_condemns(
    tmp_path: Path,
) -> None:
    crash(in_process(tmp_path), NAME, OTHER)
    crash(in_process(tmp_path), NAME, OTHER)
    third = in_process(tmp_path)
    assert third.state.prompts.is_suspect(NAME)
    permit = third.state.admit("visitor", None, [NAME, OTHER])
    assert permit is not None
    assert permit.keys == (NAME,)
    third.state.report(permit, CallOutcome.NOTHING)
    crash(third, NAME)
    fourth = in_process(tmp_path)
    assert fourth.state.prompts.is_poison(NAME)
    assert not fourth.state.prompts.is_poison(OTHER)
    crash(fourth, OTHER)
    assert in_process(tmp_path).state.prompts.is_poison(NAME)  # and the memory is handed on


def test_a_worker_that_ends_with_nothing_in_work_blames_nobody(tmp_path: Path) -> None:
    server = in_process(tmp_path)
    permit = server.state.admit("visitor", None, [NAME])
    assert permit is not None
    server.note()
    server.state.report(permit, CallOutcome.NOTHING)
    crash(server, OTHER)
    known = in_process(tmp_path).state.prompts.known["tallies"]
    assert set(known) == {OTHER}


def test_the_file_of_a_worker_that_lives_is_left_alone_and_one_that_says_nonsense_is_removed(
    tmp_path: Path,
) -> None:
    living = in_process(tmp_path)
    (tmp_path / "0-half.in-work").write_text('{"at_s": 1.0, "in_wo')
    in_process(tmp_path)
    assert not (tmp_path / "0-half.in-work").exists()
    assert len(list(tmp_path.glob("*.in-work"))) == 2
    descriptor = living._file._descriptor if living._file is not None else None
    assert descriptor is not None
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def test_a_file_that_another_worker_takes_over_meanwhile_costs_neither_the_others_nor_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(in_process(tmp_path), NAME)
    (tmp_path / "0-gone.in-work").symlink_to(
        tmp_path / "nowhere"
    )  # cannot be opened, like one that was removed
    (tmp_path / "1-taken.in-work").write_text("{}")
    unlink = type(tmp_path).unlink

    def unlinked_by_another(path: Path) -> None:
        unlink(path)
        if path.name == "1-taken.in-work":
            unlink(path)

    monkeypatch.setattr(type(tmp_path), "unlink", unlinked_by_another)
    second = in_process(tmp_path)
    assert set(second.state.prompts.known["tallies"]) == {NAME}
    crash(second, NAME)
    assert in_process(tmp_path).state.prompts.is_poison(NAME)


def test_a_folder_that_cannot_be_written_costs_the_memory_and_no_post(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = in_process(tmp_path / "file")
    permit = server.state.admit("visitor", None, [NAME])
    assert permit is not None
    server.note()


def test_what_was_found_before_the_topic_is_followed_is_told_later(tmp_path: Path) -> None:
    for _ in range(2):
        crash(in_process(tmp_path), NAME)
    servers, told = Servers(Clock(), InWorkFile(tmp_path)), list[Fact]()
    servers.of(Backend(FakeEngine(), fake_prompter(), CATEGORIES, in_process=True))
    servers.announce_to(told.append)
    assert [fact.prompt for fact in told if isinstance(fact, Poison)] == [NAME]
