from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
from sluicegate.pipeline.flow.judgement import Judgement, computed_tokens
from sluicegate.schemas import FailureCode, Scores

SCORES = Scores(safe=1.0, controversial=0.0, unsafe=0.0)


def test_only_tokens_that_no_cache_served_count_as_read_and_every_answer_as_one_at_least() -> None:
    def judgement(tokens: int, shared: int) -> Any:
        return SimpleNamespace(prompt=Prompt(tuple(range(tokens)), "post", shared, (0, 1)))

    judgements = [judgement(100, 20), judgement(100, 20), judgement(20, 20), judgement(100, 0)]
    answers = [
        Scored(SCORES, label_mass=1.0, cached_tokens=60),
        Scored(SCORES, label_mass=1.0),
        Scored(SCORES, label_mass=1.0),
        ItemFailure(FailureCode.TIMED_OUT),
    ]
    assert computed_tokens(judgements, answers) == 40 + 80 + 1


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
        return SimpleNamespace(explain_as=lambda _policy, _scores: severity)

    anything: Any = None
    shared = Judgement(b"key", anything, anything, anything, [member(one) for one in wanted])
    assert shared.explain_as(anything) is None  # it is not scored yet
    shared.scores = SCORES
    assert shared.explain_as(anything) == made
