from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluicegate.pipeline.flow.work import PromptInWork
from sluicegate.schemas import Scores

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
        return SimpleNamespace(explain_as=lambda _policy, _scores: severity)

    anything: Any = None
    shared = PromptInWork(b"key", anything, anything, anything, [member(one) for one in wanted])
    assert shared.explain_as(anything) is None  # it is not scored yet
    shared.scores = SCORES
    assert shared.explain_as(anything) == made
