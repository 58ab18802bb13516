from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.flow.planner import BatchLimits, Line, Plan, WaitingPrompt, plan

LIMITS = BatchLimits(posts=4, tokens=100, max_age_s=1.0)


def wait(
    key: int, tokens: int = 10, tenant: str = "a", adapter: str | None = None, since: float = 0.0
) -> WaitingPrompt:
    return WaitingPrompt(key, tokens, tenant, adapter, since)


items = st.builds(
    WaitingPrompt,
    number=st.just(0),
    tokens=st.integers(1, 150),
    tenant=st.sampled_from("abc"),
    adapter=st.sampled_from([None, "x", "y"]),
    since=st.floats(0, 5),
)
queues = st.lists(items, max_size=40).map(
    lambda found: [
        WaitingPrompt(number, item.tokens, item.tenant, item.adapter, item.since)
        for number, item in enumerate(sorted(found, key=lambda item: item.since))
    ]
)


@given(waiting=queues, free=st.integers(0, 5), idle=st.booleans(), now=st.floats(5, 7))
def test_every_plan_keeps_its_bounds(waiting: list[WaitingPrompt], free: int, idle: bool, now: float) -> None:
    decided = plan(Line(waiting), now=now, free=free, idle=idle, limits=LIMITS)
    by_key = {item.number: item for item in waiting}
    sent = [key for batch in decided.micro_batches for key in batch]
    assert len(sent) == len(set(sent))  # nothing twice
    assert set(sent) <= set(by_key)  # nothing invented
    assert len(decided.micro_batches) <= free
    for batch in decided.micro_batches:
        members = [by_key[key] for key in batch]
        assert 1 <= len(members) <= LIMITS.posts
        assert sum(item.tokens for item in members) <= LIMITS.tokens or len(members) == 1
        assert len({item.adapter for item in members}) == 1
    for tenant in "abc":  # oldest first within tenant and adapter
        for adapter in (None, "x", "y"):
            mine = [key for key in sent if (by_key[key].tenant, by_key[key].adapter) == (tenant, adapter)]
            assert mine == sorted(mine)


@given(waiting=queues.filter(bool), free=st.integers(1, 5))
def test_an_idle_engine_with_waiting_posts_gets_work_and_the_oldest_is_in_it(
    waiting: list[WaitingPrompt], free: int
) -> None:
    decided = plan(Line(waiting), now=5.0, free=free, idle=True, limits=LIMITS)
    assert decided.micro_batches
    assert 0 in decided.micro_batches[0]


@given(waiting=queues, now=st.floats(5, 7))
def test_with_room_nothing_of_age_is_left_waiting_and_the_rest_has_an_appointment(
    waiting: list[WaitingPrompt], now: float
) -> None:
    decided = plan(Line(waiting), now=now, free=1000, idle=False, limits=LIMITS)
    sent = {key for batch in decided.micro_batches for key in batch}
    left = [item for item in waiting if item.number not in sent]
    assert all(now - item.since < LIMITS.max_age_s for item in left)
    if left:
        assert decided.ask_again_at is not None
        assert decided.ask_again_at > now
    else:
        assert decided.ask_again_at is None


def test_no_room_means_no_micro_batch_and_no_appointment() -> None:
    decided = plan(Line([wait(0)]), now=9, free=0, idle=False, limits=LIMITS)
    assert decided.micro_batches == ()
    assert decided.ask_again_at is None


def test_a_young_micro_batch_waits_for_company_while_the_engine_is_at_work() -> None:
    decided = plan(Line([wait(0, since=0.5)]), now=1.0, free=1, idle=False, limits=LIMITS)
    assert decided.micro_batches == ()
    assert decided.ask_again_at == 1.5


def test_a_post_beyond_the_token_budget_goes_alone() -> None:
    decided = plan(Line([wait(0, tokens=500), wait(1)]), now=2, free=2, idle=True, limits=LIMITS)
    assert decided.micro_batches == ((0,), (1,))


def test_a_flood_of_one_tenant_does_not_keep_another_out_of_the_micro_batch() -> None:
    flood = [wait(number, tenant="loud") for number in range(20)]
    decided = plan(Line([*flood, wait(20, tenant="quiet")]), now=2, free=1, idle=True, limits=LIMITS)
    assert 20 in decided.micro_batches[0]


def test_adapters_are_never_mixed() -> None:
    waiting = [wait(number, adapter="xy"[number % 2]) for number in range(8)]
    decided = plan(Line(waiting), now=2, free=4, idle=True, limits=LIMITS)
    assert decided.micro_batches == ((0, 2, 4, 6), (1, 3, 5, 7))


NO_AGE = BatchLimits(posts=4, tokens=100, max_age_s=math.inf)


def test_without_an_age_limit_nobody_goes_without_company_and_there_is_no_appointment() -> None:
    decided = plan(Line([wait(0)]), now=1e9, free=5, idle=False, limits=NO_AGE)
    assert decided == Plan((), None)
    assert plan(Line([wait(0)]), now=1e9, free=5, idle=True, limits=NO_AGE).micro_batches == ((0,),)


@given(waiting=queues, free=st.integers(1, 5), idle=st.booleans())
def test_a_busy_adapter_never_passes_one_whose_post_is_older_than_all_of_its_own(
    waiting: list[WaitingPrompt], free: int, idle: bool
) -> None:
    decided = plan(Line(waiting), now=5.0, free=free, idle=idle, limits=NO_AGE)
    sent = {key for batch in decided.micro_batches for key in batch}
    if sent:
        assert 0 in sent  # the oldest of all
    assert decided.ask_again_at is None


def test_a_quiet_adapter_goes_before_a_busy_one_though_it_is_not_full() -> None:
    waiting = [wait(0, adapter="quiet"), *(wait(number, adapter="busy") for number in range(1, 9))]
    decided = plan(Line(waiting), now=2.0, free=2, idle=False, limits=NO_AGE)
    assert decided.micro_batches == ((0,), (1, 2, 3, 4))


@given(waiting=queues, free=st.integers(0, 5), idle=st.booleans())
def test_a_plan_leaves_the_line_as_it_is(waiting: list[WaitingPrompt], free: int, idle: bool) -> None:
    line = Line(waiting)
    first, again = (plan(line, now=5.0, free=free, idle=idle, limits=LIMITS) for _ in range(2))
    assert first == again


@given(waiting=queues, data=st.data(), free=st.integers(1, 5))
def test_who_left_the_line_is_as_if_never_there(
    waiting: list[WaitingPrompt], data: st.DataObject, free: int
) -> None:
    gone = {key for key in range(len(waiting)) if data.draw(st.booleans())}
    line = Line(waiting)
    for item in waiting:
        if item.number in gone:
            line.remove(item)
    left = Line(item for item in waiting if item.number not in gone)
    assert plan(line, now=5.5, free=free, idle=True, limits=LIMITS) == plan(
        left, now=5.5, free=free, idle=True, limits=LIMITS
    )


def test_who_does_not_wait_cannot_leave() -> None:
    line = Line([wait(0)])
    line.remove(wait(0))
    with pytest.raises(KeyError):
        line.remove(wait(0))


def test_only_the_adapters_named_are_planned() -> None:
    line = Line([wait(0, adapter="x"), wait(1), wait(2, adapter="y")])
    decided = plan(line, adapters={"y", None}, now=2.0, free=5, idle=False, limits=LIMITS)
    assert decided.micro_batches == ((1,), (2,))


def test_what_fills_the_tokens_exactly_is_full_and_waits_for_no_company() -> None:
    decided = plan(Line([wait(1, LIMITS.tokens)]), now=0.0, free=1, idle=False, limits=LIMITS)
    assert decided == Plan(((1,),), None)
    young = plan(Line([wait(1, LIMITS.tokens - 1)]), now=0.0, free=1, idle=False, limits=LIMITS)
    assert young == Plan((), LIMITS.max_age_s)


def test_an_idle_engine_gets_one_adapters_posts_at_once_and_the_others_wait_for_company() -> None:
    line = Line([wait(1, adapter="x"), wait(2, adapter="y")])
    assert plan(line, now=0.5, free=2, idle=True, limits=LIMITS) == Plan(((1,),), LIMITS.max_age_s)
