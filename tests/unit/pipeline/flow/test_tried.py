"""When a second judge whose engine is away gets posts all the same."""

from __future__ import annotations

from sluicegate.pipeline.flow.tried import REST_S, TRY_S, EngineRest


def test_a_short_absence_changes_nothing_and_a_long_one_is_tried_now_and_then() -> None:
    rest = EngineRest()
    assert rest.may_act(10.0, at_work=True)
    assert rest.may_act(20.0, at_work=False)
    assert rest.may_act(20.0 + TRY_S - 0.1, at_work=False)
    assert not rest.may_act(20.0 + TRY_S, at_work=False)
    assert not rest.may_act(20.0 + REST_S - 0.1, at_work=False)
    assert rest.may_act(20.0 + REST_S, at_work=False)
    assert not rest.may_act(20.0 + REST_S + TRY_S, at_work=False)
    assert rest.may_act(20.0 + REST_S + TRY_S + 1, at_work=True)
    assert rest.may_act(20.0 + REST_S + TRY_S + 2, at_work=False)  # another absence begins
