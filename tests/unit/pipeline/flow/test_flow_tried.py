"""A second judge in the flow: each post is one judge's from the take to the verdict, and those taken back are the other's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.fake import FakeProfile, fake_prompter
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import CATEGORIES, Action, Failure, FailureCode
from unit.pipeline.fakes import Bench
from unit.pipeline.flow.test_flow_adapters import ONE_BY_ONE, QUICK, Switched, until

if TYPE_CHECKING:
    from sluicegate.schemas import Post

INCUMBENT: dict[str, Any] = {"name": "old", "version": "1", "rules": {"canary": True}}
CANDIDATE: dict[str, Any] = {"name": "new", "version": "1", "rules": {"adapter": "next"}}
NEAR = {"cache": {"near_duplicates": {"enabled": True}}}


class EveryOther:
    """Judges the posts with an odd number, as long as it is on."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.policy = Policy.parse(policy)
        self.on = True

    def judges(self, post: Post) -> bool:
        return self.on and int(post.id.removeprefix("p")) % 2 == 1


class Trial(Bench):
    """A flow with an engine that finds all safe, and an adapter of a candidate that finds all unsafe."""

    def __init__(
        self, *, candidate: dict[str, Any] | None = None, tree: dict[str, Any] | None = None
    ) -> None:
        self.own = Switched(FakeProfile(rules={"": "safe"}))
        self.next = Switched(FakeProfile(rules={"": "unsafe"}), "next")
        self.judge = EveryOther(candidate or CANDIDATE)
        super().__init__(
            engine=self.own,
            policy=INCUMBENT,
            tree=tree,
            adapters={"next": Backend(self.next, fake_prompter(), CATEGORIES)},
            tried=self.judge,
        )

    @property
    def judged_by(self) -> dict[str, set[tuple[str, str | None, str]]]:
        """By post, who judged it: the policy, the adapter, and what was done."""
        found: dict[str, set[tuple[str, str | None, str]]] = {}
        for one in self.outlet.verdicts:
            judged = one.policy.name, one.engine.adapter, one.action.value
            found.setdefault(one.post_id, set()).add(judged)
        return found


OLD, NEW = {("old", None, "allow")}, {("new", "next", "block")}


def posts(count: int, text: str = "hello") -> list[dict[str, Any]]:
    return [{"id": f"p{number}", "text": f"{text} {number // 2}"} for number in range(count)]


@pytest.mark.parametrize("tree", [{}, NEAR], ids=["plain", "near duplicates"])
async def test_each_post_has_the_policy_and_the_engine_of_one_judge(tree: dict[str, Any]) -> None:
    trial = Trial(tree=tree)
    await trial.run(posts(40) + posts(40))  # each text comes to both, twice
    assert trial.judged_by == {f"p{number}": NEW if number % 2 else OLD for number in range(40)}
    assert trial.acknowledged == list(range(80))


async def test_a_candidate_that_is_a_policy_alone_decides_what_the_same_engine_found() -> None:
    strict = {"name": "new", "version": "1", "rules": {"review_at": {"unsafe": 0.0}}}
    trial = Trial(candidate=strict)
    await trial.run(posts(20))
    assert trial.judged_by == {
        f"p{number}": {("new", None, "review")} if number % 2 else OLD for number in range(20)
    }
    asked = [text for texts in trial.own.asked for text in texts]
    assert len(asked) == len(set(asked)) == 10  # what both need is asked once


async def test_the_policy_in_force_may_change_and_the_second_judge_keeps_its_own() -> None:
    trial = Trial(tree={"micro_batch": ONE_BY_ONE})
    trial.own.gate.clear()
    trial.next.gate.clear()
    running = asyncio.create_task(trial.run(posts(10)))
    await until(lambda: bool(trial.own.asked))
    trial.policy = Policy.parse(INCUMBENT | {"name": "newer", "rules": {"review_at": {"unsafe": 0.0}}})
    trial.own.gate.set()
    trial.next.gate.set()
    await running
    assert trial.judged_by == {
        f"p{number}": NEW if number % 2 else {("newer", None, "review")} for number in range(10)
    }


@pytest.mark.parametrize("fault", ["hangs", "away"])
@pytest.mark.parametrize("tree", [{}, NEAR], ids=["plain", "near duplicates"])
async def test_posts_that_are_taken_back_are_judged_by_the_policy_in_force_from_the_beginning(
    fault: str, tree: dict[str, Any]
) -> None:
    several = {"posts": 1, "in_flight": 24}  # a hanging engine takes in-flight room from the others
    trial = Trial(tree=tree | {"engine": QUICK | {"score_timeout_s": 30}, "micro_batch": several})
    if fault == "away":
        trial.next.away = True
    else:
        trial.next.gate.clear()
    running = asyncio.create_task(trial.run(posts(20) + posts(20)))
    await until(lambda: len(trial.outlet.verdicts) == 20)  # the others do not wait for it
    assert {one.policy.name for one in trial.outlet.verdicts} == {"old"}
    trial.judge.on = False
    trial.flow.recall()
    await until(lambda: len(trial.outlet.verdicts) == 40)
    trial.next.gate.set()  # what it says now, nobody hears
    trial.next.away = False
    await running
    assert trial.judged_by == {f"p{number}": OLD for number in range(20)}
    assert sorted(trial.acknowledged) == list(range(40))
    assert len(trial.outlet.verdicts) == 40
    assert (trial.window.posts, trial.flow.work.prompts, trial.flow.work.followers) == (0, 0, 0)


async def test_posts_of_a_candidate_wait_no_longer_than_its_policy_says_where_the_one_in_force_waits() -> (
    None
):
    impatient = {
        "name": "new",
        "version": "1",
        "rules": {"adapter": "next", "max_wait_seconds": 0.2, "failure_mode": "block"},
    }
    trial = Trial(candidate=impatient, tree={"micro_batch": ONE_BY_ONE})
    trial.next.gate.clear()
    running = asyncio.create_task(trial.run([{"id": "p1", "text": "one"}, {"id": "p3", "text": "three"}]))
    async with asyncio.timeout(20):
        await until(lambda: len(trial.outlet.verdicts) == 1)  # the other one is in the engine's hands
        (given_up,) = trial.outlet.verdicts
        assert given_up.failure == Failure(code=FailureCode.OVERLOAD, mode=Action.BLOCK)
        trial.next.gate.set()
        await running
    assert sorted(trial.acknowledged) == [0, 1]


async def test_a_post_that_followed_one_that_is_taken_back_is_taken_back_with_it() -> None:
    trial = Trial(tree=NEAR | {"micro_batch": {"posts": 1, "in_flight": 24}})
    trial.next.gate.clear()
    text = "send me your bank details before noon today please"
    copies = [{"id": f"p{number}", "text": text + "!" * (number + 4)} for number in (1, 3, 5)]
    running = asyncio.create_task(trial.run(copies))
    await until(lambda: trial.flow.work.followers == 2)
    # A smaller share: the post that was asked for is the candidate's no more, and those that wait for it still are.
    trial.judge.judges = lambda post: post.id != "p1"  # type: ignore[method-assign]
    trial.flow.recall()
    trial.next.gate.set()
    await asyncio.wait_for(running, 10)
    assert trial.judged_by == {"p1": OLD, "p3": OLD, "p5": OLD}  # what begins again is the incumbent's
    assert sorted(trial.acknowledged) == [0, 1, 2]
    assert (trial.window.posts, trial.flow.work.prompts, trial.flow.work.followers) == (0, 0, 0)


async def test_a_judge_that_is_lost_while_a_post_is_looked_up_does_not_get_it() -> None:
    trial = Trial()
    cut = trial.flow._routes.cut

    async def lost_meanwhile(decided: Any) -> Any:
        done = await cut(decided)
        trial.judge.on = False
        return done

    trial.flow._routes.cut = lost_meanwhile  # type: ignore[method-assign,assignment]  # the moment in which it happens
    await trial.run(posts(10))
    assert trial.judged_by == {f"p{number}": OLD for number in range(10)}
    assert trial.acknowledged == list(range(10))


async def test_what_was_given_back_is_not_taken_back_again() -> None:
    trial = Trial(tree={"micro_batch": {"posts": 1, "in_flight": 24}})
    trial.next.gate.clear()
    running = asyncio.create_task(trial.run(posts(4)))
    await until(lambda: bool(trial.next.asked))
    await until(lambda: len(trial.outlet.verdicts) == 2)
    trial.flow.give_back()
    trial.judge.on = False
    trial.flow.recall()
    trial.next.gate.set()
    await running
    assert trial.judged_by == {"p0": OLD, "p2": OLD}
