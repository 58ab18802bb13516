from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.segmenter import Part, Parts
from sluicegate.pipeline.flow.in_work import PostInWork, PromptInWork
from sluicegate.pipeline.flow.work import Work
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.shortcuts.cache import AssessmentCache
from sluicegate.pipeline.shortcuts.near_duplicates import Index, KnownText, NearKey
from sluicegate.schemas import Post, Scores
from unit.pipeline.fakes import MemoryDelivery
from unit.pipeline.flow.schedules import POLICIES, Route, Schedule

SCORES = Scores(safe=1.0, controversial=0.0, unsafe=0.0)


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ([None, None], None),
        (["safe", None], "safe"),
        ([None, "safe"], "safe"),
        (["safe", "unsafe"], "unsafe"),
        (["controversial", "safe"], "controversial"),
        (["unsafe", None, "safe"], "unsafe"),
    ],
)
def test_an_explanation_for_several_is_made_if_one_asks_and_serves_who_wants_a_category(
    wanted: list[str | None], made: str | None
) -> None:
    def member(severity: str | None) -> Any:
        return SimpleNamespace(explain_as=lambda _policy, _scores: severity), 0

    anything: Any = None
    members = [member(one) for one in wanted]
    shared = PromptInWork(1, 1, "a", None, 0.0, b"key", anything, anything, members)
    assert shared.explain_as(anything) is None  # it is not scored yet
    shared.scores = SCORES
    assert shared.explain_as(anything) == made


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_the_first_few_of_these_schedules_tell_soon(first: int) -> None:
    for number in range(first, first + 10):
        rng = random.Random(number)
        Schedule(rng.randbytes(rng.randrange(_STEPS))).run()


class Desk:
    """Work with posts of one part each, which are near duplicates."""

    def __init__(self) -> None:
        self.texts = Index(2, 10**6)
        self.work = Work(AssessmentCache(3, 10**6), self.texts)
        self._route: Any = Route("a")

    def enter(self, number: int) -> PostInWork:
        parts = Parts((Part(Prompt((number,), "post", 0, (0, 1)), 0, 1),))
        slot = Slot(MemoryDelivery(number), 1, 0.0)
        one = PostInWork(slot, Post(id=f"p{number}", text="x"), self._route, parts, (b"key %d" % number,))
        policy = POLICIES[0]
        self.work.enter([one], policy, 0.0, {one: NearKey(b"near", stands=True, policy=policy.digest)})
        return one


def test_who_knows_a_near_duplicate_that_is_no_use_waits_for_no_other_one() -> None:
    desk = Desk()
    desk.enter(1)
    desk.enter(2)
    assert (desk.work.prompts, desk.work.followers) == (1, 1)
    desk.texts.put(b"near", KnownText(None, "v0", 60.0))  # of a post that was not sure
    desk.enter(3)
    assert (desk.work.prompts, desk.work.followers) == (2, 1)


def test_a_verdict_of_a_fault_of_ours_tells_nothing_of_its_near_duplicates() -> None:
    desk = Desk()
    lead = desk.enter(1)
    desk.enter(2)
    assert desk.work.answered(lead, None, "v1", None, policy=POLICIES[0], now=0.0) == []
    assert (desk.work.prompts, desk.work.followers) == (2, 0)


def test_what_nobody_waits_for_any_more_leaves_the_line_and_the_rest_stays() -> None:
    desk = Desk()
    given_back = desk.enter(1)
    desk.texts.put(b"near", KnownText(None, "v0", 60.0))
    desk.enter(2)
    assert (desk.work.prompts, desk.work.waiting) == (2, 2)
    given_back.slot.released = True
    desk.work.release()
    assert (desk.work.prompts, desk.work.waiting) == (1, 1)


_SCHEDULES, _BLOCKS = 10_000, 10
_STEPS = 200
"""Of a long schedule, in bytes."""


@pytest.mark.parametrize("block", range(_BLOCKS))
def test_whatever_happens_in_which_order_every_post_is_answered_once_and_with_what_is_known_of_it(
    block: int,
) -> None:
    met: Counter[str] = Counter()
    for number in range(_SCHEDULES // _BLOCKS):
        rng = random.Random(block * _SCHEDULES + number)
        schedule = Schedule(rng.randbytes(rng.randrange(_STEPS)))
        schedule.run()
        met += schedule.met
    whatever = {"engine", "cache", "near_duplicate", "failed", "given up", "scored and given up", "unasked"}
    assert min(met[one] for one in whatever | {"given back", "aside", "explained", "followed"}) >= 5
