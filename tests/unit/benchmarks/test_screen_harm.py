"""The arithmetic of the screen's harm: counted against the engine and against labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sluicegate.engines.screen.model import ScreenAnswer
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import Action, Post, Scores
from studies.screen_harm import study as screen_harm
from studies.screen_harm.study import Case, curve, page

ALLOW, REVIEW, BLOCK = Action.ALLOW, Action.REVIEW, Action.BLOCK


def case(
    *, error: float | None, engine: Action, label: Action, screened: Action | None = ALLOW, tokens: int = 10
) -> Case:
    answer = (
        None if error is None else ScreenAnswer(Scores(safe=0.9, controversial=0.1, unsafe=0), "safe", error)
    )
    return Case(Post(id="p", text="t"), answer, None if answer is None else screened, engine, label, tokens)


def at(points: list[dict[str, object]], tolerance: float) -> dict[str, object]:
    return next(one for one in points if one["tolerance"] == tolerance)


def test_harm_is_against_the_engine_and_errors_are_against_labels() -> None:
    found = [
        case(error=0.01, engine=ALLOW, label=ALLOW),
        case(error=0.02, engine=BLOCK, label=ALLOW, tokens=30),  # the screen is right, the engine is not
        case(error=0.05, engine=REVIEW, label=REVIEW),  # the engine is right
        case(error=None, engine=BLOCK, label=ALLOW, tokens=50),
    ]
    points = curve(found)
    assert at(points, 0.005)["answered"] == 0
    assert at(points, 0.005)["harm_at_most"] is None
    one = at(points, 0.02)
    assert (one["answered"], one["harm"], one["label_differs"]) == (2, 1, 0)
    assert one["error_added"] == -0.25
    assert one["tokens_saved"] == 0.4
    last = at(points, 0.05)
    assert (last["answered"], last["harm"], last["label_differs"]) == (3, 2, 1)
    assert (last["error_added"], last["error_of_engine_alone"]) == (0.0, 0.5)


def test_what_the_policy_would_not_allow_by_the_screen_is_no_answer() -> None:
    points = curve([case(error=0.0, engine=BLOCK, label=BLOCK, screened=BLOCK)])
    assert all(one["answered"] == 0 for one in points)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (ALLOW, "at most 0.5 % is shown up to a tolerance of 0.1"),
        (REVIEW, "at no tolerance: the screen is off by default"),
    ],
)
def test_the_page_says_where_harm_is_small_enough(engine: Action, said: str) -> None:
    found = [case(error=0.01, engine=engine, label=engine) for _ in range(700)]
    assert said in page({"rows": 700, "screen": "sha256:0", "curve": curve(found)})


def test_the_default_follows_from_the_committed_report() -> None:
    report = Path(screen_harm.__file__).parents[2] / "reports" / "screen-harm.json"
    points = json.loads(report.read_text())["curve"]
    shown = [one for one in points if one["answered"] and one["harm_at_most"] <= 0.005]
    assert bool(Settings().screen.path) == bool(shown)
