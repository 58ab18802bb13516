"""What comes between two steps of the flow: nobody that waits for another is forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.flow.near_duplicates import NearDuplicates
from sluicegate.pipeline.flow.work import Work
from sluicegate.schemas import AssessedBy, FailureCode
from unit.pipeline.flow.test_near_duplicates import BAD, SAFE, SURE, hidden, post
from unit.pipeline.scripted import ScriptedEngine
from unit.pipeline.shortcuts.turns import Turns, bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from sluicegate.pipeline.flow.in_work import PostInWork
    from sluicegate.pipeline.policy import Policy
    from sluicegate.pipeline.shortcuts.near_duplicates import NearKey


class HeldUp:
    """Holds one post up between its key and its look-up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, post_id: str) -> None:
        self.there, self.go_on = asyncio.Event(), asyncio.Event()
        self.read: set[str] = set()
        keys = NearDuplicates.keys

        async def held_up(
            near: NearDuplicates, posts: Sequence[PostInWork], policy: Policy
        ) -> dict[PostInWork, NearKey]:
            found = await keys(near, posts, policy)
            ids = {one.post.id for one in posts}
            if post_id in ids:
                self.there.set()
                await self.go_on.wait()
            self.read |= ids
            return found

        monkeypatch.setattr(NearDuplicates, "keys", held_up)


async def test_who_comes_between_an_answer_and_its_publication_loses_nobody_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = ScriptedEngine(SURE)
    engine.away = 10_000
    held_up = HeldUp(monkeypatch, "p2")
    run_out = Work.give_up

    def give_up(*args: Any, **named: Any) -> list[PostInWork]:
        settled = run_out(*args, **named) if held_up.there.is_set() else []
        if settled:
            held_up.go_on.set()  # p2 is looked up before the task that publishes these begins
        return settled

    monkeypatch.setattr(Work, "give_up", give_up)
    policy = {"name": "p", "version": "1", "rules": {"max_wait_seconds": 0.1}}
    stand = bench(engine=engine, policy=policy)
    async with Turns(stand) as turns:
        await turns.send(post(0), post(1, hidden(SAFE, 13)))
        while "p1" not in held_up.read:
            await asyncio.sleep(0)
        await turns.send(post(2, hidden(SAFE, 14)))
    assert stand.acknowledged == [0, 1, 2]
    assert {one.failure.code for one in stand.outlet.verdicts if one.failure} == {
        FailureCode.ENGINE_UNAVAILABLE
    }


async def test_who_was_given_back_before_its_look_up_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = ScriptedEngine(SURE)
    held_up = HeldUp(monkeypatch, "p0")
    stand = bench(engine=engine)
    async with Turns(stand) as turns:
        await turns.send(post(0))
        await held_up.there.wait()
        assert stand.flow.give_back() == 1
        held_up.go_on.set()
        (other,) = await turns.judge(post(1, BAD))
    assert (other.assessed_by, sum(engine.scored)) == (AssessedBy.ENGINE, 1)
    assert stand.acknowledged == [1]
    assert stand.flow.work._leads == {}
