from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.pipeline.flow.in_work import PromptInWork
from sluicegate.schemas import Scores
from unit.pipeline.flow.schedules import Schedule

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
