"""The state of a server as a machine: no engine, no event loop, a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluicegate.engines.protocol import Generation
from sluicegate.pipeline.flow.adapter_state import CallOutcome
from sluicegate.pipeline.flow.server_state import ServerState
from sluicegate.pipeline.flow.suspects import REMEMBERED_S

if TYPE_CHECKING:
    from sluicegate.pipeline.flow.server_state import Permit

OWN, OTHER = None, "other"


class Rig:
    """A state with two adapters, and an engine whose lives a test counts."""

    def __init__(self, *, exclusive: bool = True, told: bool = True) -> None:
        self.now = 1000.0
        self.found: list[str] = []
        self.several = 0
        self.state = ServerState(lambda: self.now, found=self.told_of, several=self.told_of_several)
        for adapter in (OWN, OTHER):
            self.state.enrol(adapter, mute_calls=3, first_pause_s=1.0, on_change=lambda _state, _reason: None)
        self.exclusive, self.told = exclusive, told
        self.life = 0
        self.idle = True
        self.state.seen(self.generation())

    def told_of(self, key: str, certain: bool) -> None:
        self.found += [key] if certain else []

    def told_of_several(self) -> None:
        self.several += 1

    def generation(self) -> Generation | None:
        if not self.told:
            return None
        return Generation(f"life {self.life}", exclusive=self.exclusive, idle=self.idle)

    def admit(self, *keys: str, adapter: str | None = OWN, visitor: object = None) -> Permit | None:
        return self.state.admit(visitor or keys, adapter, keys)

    def admitted(self, *keys: str, adapter: str | None = OWN) -> Permit:
        permit = self.admit(*keys, adapter=adapter)
        assert permit is not None
        return permit

    def die(self, *permits: Permit) -> None:
        self.life += 1
        for permit in permits:
            self.state.report(permit, CallOutcome.AWAY, reason="it crashed")

    def come_back(self, adapter: str | None = OWN) -> None:
        while not self.state.begin_asking(adapter):
            self.now += 0.25
        self.state.asked(adapter, healthy=True, generation=self.generation())

    def die_with(self, *keys: str) -> None:
        self.die(self.admitted(*keys))
        self.state.leave(keys)
        self.come_back()

    def answer(self, *keys: str) -> None:
        self.state.report(self.admitted(*keys), CallOutcome.ANSWERED)
        self.state.leave(keys)


def test_after_the_second_death_the_suspects_are_asked_one_at_a_time_and_the_third_death_condemns_one() -> (
    None
):
    rig = Rig()
    rig.die_with("poison", "a", "b")
    rig.answer("c")
    rig.die_with("poison", "a", "b", "d")
    asked = []
    for _ in range(2):
        permit = rig.admitted("a", "b", "poison")
        asked.append(permit.keys)
        rig.state.report(permit, CallOutcome.ANSWERED)
    rig.state.leave(("a", "b", "poison"))
    assert asked == [("a",), ("b",)]
    rig.die_with("poison")
    assert rig.found == ["poison"]
    assert rig.life == 3
    assert rig.state.prompts.is_poison("poison")
    assert not rig.state.prompts.is_suspect("d")


def test_two_deaths_with_nothing_else_in_work_condemn_and_one_does_not() -> None:
    rig = Rig()
    rig.die_with("poison")
    assert rig.found == []
    rig.die_with("poison")
    assert rig.found == ["poison"]


def test_a_prompt_that_was_beside_two_killers_is_asked_alone_and_cleared() -> None:
    rig = Rig()
    rig.die_with("first killer", "innocent")
    rig.die_with("second killer", "innocent")
    assert rig.found == []
    permit = rig.admitted("innocent")
    assert permit.one
    rig.state.report(permit, CallOutcome.ANSWERED)
    assert not rig.state.prompts.is_suspect("innocent")


def test_the_same_process_after_a_broken_connection_is_no_death_and_condemns_nobody() -> None:
    rig = Rig()
    for _ in range(9):
        permit = rig.admitted("a")
        rig.state.report(permit, CallOutcome.AWAY, reason="reset")
        rig.state.leave(("a",))
        rig.come_back()
    assert rig.found == []
    assert rig.state.prompts.is_aside("a")  # what breaks off each time lets the others work
    rig.die_with("poison")
    rig.die_with("poison")
    assert rig.found == ["poison"]  # and the server's word still counts afterwards


def test_a_server_that_refuses_calls_says_nothing_of_what_was_sent() -> None:
    rig = Rig()
    for _ in range(9):
        rig.state.report(rig.admitted("a"), CallOutcome.AWAY, reason="full", refused=True)
        rig.life += 1
        rig.come_back()
    assert not rig.state.prompts.is_suspect("a")


def test_several_servers_behind_one_address_tell_of_no_death() -> None:
    rig = Rig()
    for turn in range(6):
        rig.state.report(rig.admitted("a"), CallOutcome.AWAY, reason="reset")
        rig.state.leave(("a",))
        rig.life = (turn + 1) % 2  # a balancer answers from either
        rig.come_back()
        if rig.found or rig.state.prompts.is_aside("a"):
            break
    assert rig.found == []
    assert rig.several == 1


def test_a_look_that_tells_nothing_does_not_make_several_servers_of_one() -> None:
    rig = Rig()
    for told in (False, True):
        rig.state.report(rig.admitted("a"), CallOutcome.AWAY, reason="reset")
        rig.state.leave(("a",))
        rig.told = told  # its page comes too late once, and the same process answers the next time
        rig.come_back()
        rig.answer("a")
    for _ in range(2):
        rig.die_with("poison")
    assert rig.found == ["poison"]
    assert rig.several == 0


def test_where_no_generation_is_told_nobody_is_condemned_and_the_suspect_is_set_aside() -> None:
    rig = Rig(told=False)
    for _ in range(3):
        rig.die_with("poison")
    assert rig.found == []
    assert rig.state.prompts.is_aside("poison")
    rig.now += REMEMBERED_S
    assert not rig.state.prompts.is_aside("poison")
    rig.die_with("poison")  # once more, and alone
    assert rig.state.prompts.is_aside("poison")
    assert rig.found == []


def test_an_answer_clears_what_was_set_aside() -> None:
    rig = Rig(told=False)
    for _ in range(3):
        rig.die_with("innocent")
    rig.now += REMEMBERED_S
    rig.answer("innocent")
    assert not rig.state.prompts.is_suspect("innocent")


def test_a_fault_of_the_engine_is_no_answer_and_clears_nobody() -> None:
    rig = Rig()
    for _ in range(2):
        rig.die_with("a", "b", "c")
    rig.answer("c")
    rig.state.report(rig.admitted("a"), CallOutcome.MUTE)
    rig.state.leave(("a",))
    rig.state.report(rig.admitted("b"), CallOutcome.ANSWERED, failed=("b",))
    rig.state.leave(("b",))
    assert set(rig.state.prompts.known["tallies"]) == {"a", "b"}


def test_who_met_a_fault_of_a_dying_engine_is_counted_at_the_death() -> None:
    rig = Rig()
    killer, beside = rig.admitted("killer"), rig.admitted("beside")
    rig.state.report(beside, CallOutcome.AWAY, reason="reset")
    rig.state.report(killer, CallOutcome.MUTE)
    rig.life += 1
    rig.come_back()
    assert set(rig.state.prompts.known["tallies"]) == {"killer", "beside"}


def test_what_was_in_work_of_another_adapter_is_counted_too() -> None:
    rig = Rig()
    for _ in range(2):
        ours, theirs = rig.admitted("a"), rig.admitted("b", adapter=OTHER)
        rig.die(ours, theirs)
        rig.state.leave(("a",))
        rig.state.leave(("b",))
        rig.come_back()
        rig.come_back(OTHER)
    assert rig.found == []
    assert rig.state.prompts.is_suspect("a")
    assert rig.state.prompts.is_suspect("b")


def test_what_is_given_up_lingers_in_the_server_and_takes_the_blame_with_the_others() -> None:
    rig = Rig()
    rig.die_with("a")
    hanging = rig.admitted("hanging")
    rig.state.report(hanging, CallOutcome.MUTE, left=("hanging",))
    rig.state.leave(("hanging",))
    rig.come_back()
    rig.die_with("a")
    assert rig.found == []


def test_what_was_given_up_long_ago_is_not_remembered() -> None:
    rig = Rig()
    for number in range(100):
        rig.state.report(rig.admitted(f"slow {number}"), CallOutcome.ANSWERED, left=(f"slow {number}",))
        rig.now += 1.0
    assert len(rig.state._lingering) == 30


def test_after_a_death_no_adapter_of_the_server_sends_before_somebody_has_asked_which_process_answers() -> (
    None
):
    rig = Rig()
    rig.die(rig.admitted("a"))
    assert rig.admit("b", adapter=OTHER) is None
    rig.come_back(OTHER)
    assert rig.admit("b", adapter=OTHER) is not None


def test_an_answer_about_the_process_that_was_asked_for_before_the_death_does_not_explain_it() -> None:
    rig = Rig()
    rig.die_with("a", "b")
    first, second = rig.admitted("a", "b"), None
    rig.die(first)
    rig.state.leave(("a", "b"))
    while not rig.state.begin_asking(OTHER):
        rig.now += 0.25
    told = rig.generation()
    rig.state.asked(OTHER, healthy=True, generation=told)
    second = rig.admitted("c", adapter=OTHER)
    while not rig.state.begin_asking(OWN):
        rig.now += 0.25
    rig.die(second)  # after the question and before its answer
    rig.state.asked(OWN, healthy=True, generation=told)
    assert rig.admit("d") is None
    rig.come_back(OTHER)
    assert len(rig.state.prompts.known["tallies"]["c"].deaths) == 1


def test_a_suspect_waits_for_the_work_to_end_and_whoever_comes_later_waits_for_it() -> None:
    rig = Rig()
    for _ in range(2):
        rig.die_with("poison", "beside")
    rig.answer("a")
    busy = rig.admitted("busy", adapter=OTHER)
    assert rig.admit("poison", "beside") is None
    assert rig.admit("late", adapter=OTHER) is None
    assert rig.state.keeps_back("late")
    assert not rig.state.keeps_back("busy")
    rig.state.report(busy, CallOutcome.ANSWERED)
    alone = rig.admitted("poison", "beside")
    assert alone.keys == ("poison",)
    assert rig.admit("late", adapter=OTHER) is None


def test_an_adapter_that_is_away_keeps_nobody_out_with_its_suspects() -> None:
    rig = Rig()
    for _ in range(2):
        rig.die_with("poison", "beside")
    rig.answer("a")
    busy = rig.admitted("busy", adapter=OTHER)
    missing = rig.admitted("missing")
    assert rig.admit("poison", "beside") is None
    rig.state.report(missing, CallOutcome.AWAY, reason="no such model", refused=True)
    rig.admitted("late", adapter=OTHER)
    rig.state.report(busy, CallOutcome.ANSWERED)
    assert rig.admit("poison", "beside") is None


def test_a_suspect_whose_post_was_answered_otherwise_keeps_nobody_out() -> None:
    rig = Rig()
    for _ in range(2):
        rig.die_with("poison", "beside")
    rig.answer("a")
    rig.admitted("busy")
    assert rig.admit("poison", "beside") is None
    rig.state.leave(("poison", "beside"))
    rig.admitted("late")


class TestSharedServer:
    """A server that tells its generation, and whose prompts may be another worker's."""

    def suspicious(self) -> Rig:
        rig = Rig(exclusive=False)
        rig.state.lease.lending = True
        for _ in range(2):
            rig.die_with("poison")
        rig.answer("a")
        return rig

    def test_no_suspect_is_asked_before_the_others_have_heard_and_the_server_has_nothing_in_its_work(
        self,
    ) -> None:
        rig = self.suspicious()
        assert rig.found == []  # another worker's prompt may have done it
        assert rig.admit("poison") is None
        assert rig.state.wants_lease
        rig.state.lease.begin(ours=True)
        assert rig.admit("poison") is None  # nobody has heard of it yet
        rig.now += 3
        rig.idle = False
        rig.come_back()
        assert rig.admit("poison") is None  # somebody's prompt is in work
        rig.idle = True
        rig.come_back()
        permit = rig.admitted("poison")
        assert permit.sole
        rig.die(permit)
        rig.come_back()
        assert rig.found == ["poison"]
        assert rig.life == 3

    def test_a_server_that_others_keep_at_work_is_asked_in_the_end_and_condemns_nobody(self) -> None:
        rig = self.suspicious()
        rig.idle = False
        assert rig.admit("poison") is None
        rig.state.lease.begin(ours=True)
        rig.now += 40
        rig.come_back()
        permit = rig.admitted("poison")
        rig.die(permit)
        rig.come_back()
        assert rig.found == []
        assert rig.state.prompts.is_aside("poison")

    def test_what_the_server_had_in_its_work_before_the_lease_says_nothing_of_what_came_since(self) -> None:
        rig = Rig(exclusive=False)
        rig.state.lease.lending = True
        for _ in range(2):
            rig.die_with("innocent", "beside")  # a look follows each death, and tells that nothing is in work
        assert rig.admit("innocent") is None
        rig.state.lease.begin(ours=True)
        rig.idle = False  # another worker, which has not read of the lease, sends what will end the server
        rig.now += 3
        assert rig.admit("innocent") is None
        rig.come_back()
        assert rig.admit("innocent") is None
        rig.idle = True
        rig.come_back()
        assert rig.admitted("innocent").sole

    def test_what_the_server_had_in_its_work_in_one_lease_says_nothing_of_the_next(self) -> None:
        rig = self.suspicious()
        assert rig.admit("poison") is None
        rig.state.lease.begin(ours=True)
        rig.now += 3
        rig.come_back()
        rig.now += 60  # the others work again
        rig.state.lease.begin(ours=True)
        rig.now += 3
        assert rig.admit("poison") is None
        rig.come_back()
        assert rig.admitted("poison").sole

    def test_while_another_worker_asks_its_suspects_nothing_is_sent_and_a_worker_that_died_frees_it(
        self,
    ) -> None:
        rig = Rig(exclusive=False)
        rig.state.lease.lending = True
        rig.state.lease.begin(ours=False)
        assert rig.admit("a") is None
        assert "another worker" in rig.state.reason(OWN)
        rig.now += 60
        rig.admitted("a")

    def test_before_each_suspect_the_server_is_asked_again_whether_others_keep_it_at_work(self) -> None:
        rig = Rig(exclusive=False)
        for _ in range(2):
            rig.die_with("a", "b")
        rig.state.report(rig.admitted("a", "b"), CallOutcome.ANSWERED)
        assert rig.admit("b", visitor=("a", "b")) is None
        rig.come_back()
        assert rig.admit("b", visitor=("a", "b")) is not None

    def test_a_server_that_others_keep_at_work_is_asked_five_times_a_second(self) -> None:
        rig = Rig(exclusive=False)
        for _ in range(2):
            rig.die_with("a")
        rig.answer("b")
        rig.idle = False
        assert rig.admit("a") is None
        rig.come_back()
        asked_at = rig.now
        assert not rig.state.begin_asking(OWN)
        rig.now += 0.1
        assert not rig.state.begin_asking(OWN)
        rig.now = asked_at + 0.2
        assert rig.state.begin_asking(OWN)

    def test_a_death_after_the_lease_is_over_condemns_nobody(self) -> None:
        rig = self.suspicious()
        assert rig.admit("poison") is None
        rig.state.lease.begin(ours=True)
        rig.now += 3
        rig.come_back()
        permit = rig.admitted("poison")
        assert permit.sole
        rig.now += 60  # the others work again
        rig.die(permit)
        rig.come_back()
        assert rig.found == []

    def test_where_workers_cannot_agree_suspects_are_asked_and_nobody_is_condemned(self) -> None:
        rig = Rig(exclusive=False)
        for _ in range(3):
            rig.die_with("poison")
        assert rig.found == []
        assert rig.state.prompts.is_aside("poison")


@dataclass
class World:
    """Posts in micro-batches before one worker's state, and an engine that some of them kill."""

    rig: Rig
    poison: frozenset[str]
    batches: dict[int, list[str]]
    adapters: dict[int, str | None]
    running: dict[int, tuple[Permit, int]] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)

    def left(self, batch: int) -> list[str]:
        prompts = self.rig.state.prompts
        return [
            key
            for key in self.batches[batch]
            if key not in self.answered and not prompts.is_poison(key) and not prompts.is_aside(key)
        ]

    def send(self, batch: int) -> None:
        state, keys = self.rig.state, self.left(batch)
        if batch in self.running:
            return
        if not keys:
            state.leave(batch)
            return
        permit = state.admit(batch, self.adapters[batch], keys)
        if permit is not None:
            others = [one for one, _ in self.running.values()]
            assert not any(one.one for one in others)
            assert not (permit.one and others)
            self.running[batch] = permit, self.rig.life

    def end(self, batch: int) -> None:
        permit, life = self.running.pop(batch, (None, 0))
        if permit is None:
            return
        if life == self.rig.life and self.poison & set(permit.keys):
            self.rig.life += 1
            life = -1
        if life != self.rig.life:
            self.rig.state.report(permit, CallOutcome.AWAY, reason="gone")
            return
        self.answered |= set(permit.keys)
        self.rig.state.report(permit, CallOutcome.ANSWERED)

    def look(self, adapter: str | None) -> None:
        if self.rig.state.begin_asking(adapter):
            self.rig.state.asked(adapter, healthy=True, generation=self.rig.generation())


PROMPTS = [f"p{number}" for number in range(9)]
STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "end", "look", "wait", "flap"]), st.integers(0, 4)), max_size=120
)


def world(rig: Rig, poison: frozenset[str]) -> World:
    batches = {number: PROMPTS[number * 2 : number * 2 + 2] for number in range(5)}
    return World(rig, poison, batches, {number: (OWN, OTHER)[number % 2] for number in range(5)})


def play(world: World, steps: list[tuple[str, int]]) -> None:
    for what, number in [
        *steps,
        *[(what, n) for _ in range(60) for n in range(5) for what in ("look", "send", "end", "wait")],
    ]:
        if what == "send":
            world.send(number)
        elif what == "end":
            world.end(number)
        elif what == "look":
            world.look((OWN, OTHER)[number % 2])
        elif what == "wait":
            world.rig.now += 0.5
        elif number in world.running:  # the connection breaks, and nothing dies
            permit, _ = world.running.pop(number)
            world.rig.state.report(permit, CallOutcome.AWAY, reason="reset")


@settings(max_examples=200, deadline=None)
@given(STEPS, st.frozensets(st.sampled_from(PROMPTS), max_size=3))
def test_whatever_happens_no_innocent_is_condemned_and_a_poison_prompt_ends_the_engine_three_times_at_most(
    steps: list[tuple[str, int]], poison: frozenset[str]
) -> None:
    stand = world(Rig(), poison)
    play(stand, steps)
    assert set(stand.rig.found) == poison
    assert stand.rig.life <= 3 * len(poison)
    aside = {key for key in PROMPTS if stand.rig.state.prompts.is_aside(key)}
    assert stand.answered | aside == set(PROMPTS) - poison


@settings(max_examples=100, deadline=None)
@given(STEPS, st.frozensets(st.sampled_from(PROMPTS), max_size=3))
@example([("send", 3), ("end", 3), ("look", 0), ("wait", 0), ("send", 2)], frozenset({"p4", "p6"}))
def test_without_a_generation_nobody_is_condemned_and_all_but_few_get_an_answer(
    steps: list[tuple[str, int]], poison: frozenset[str]
) -> None:
    stand = world(Rig(told=False), poison)
    play(stand, [step for step in steps if step[0] != "flap"])
    assert stand.rig.found == []
    # Three each as a rule. Ends with no look in between count as one: nobody tells them apart.
    assert stand.rig.life <= 4 * len(poison)
    assert stand.answered == set(PROMPTS) - poison
