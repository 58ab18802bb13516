"""What the scenarios of reuse rest on: floods whose copies are near duplicates, and the check of their truth."""

from __future__ import annotations

import os
import random
import signal
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson

from faults.death import PUBLISHED, REUSED, Orders, _die_if_ordered
from faults.floods import ACTIONS, RULES, SEVERITIES, check_truth, copies, flood_post, text_of, truth_of
from sluicegate.engines.backends.fake import FakeProfile
from sluicegate.pipeline.shortcuts.near_duplicates import reduced_form
from support.collector import Record
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_copies_are_near_duplicates_of_their_text_and_of_no_other() -> None:
    forms = {severity: reduced_form(text_of("one", severity)) for severity in SEVERITIES}
    assert None not in forms.values()
    assert len(set(forms.values())) == len(SEVERITIES)
    made = copies("one", 90, random.Random(1))
    assert {reduced_form(one["text"]) == forms[truth_of(one["id"])] for one in made} == {True}
    assert len({one["text"] for one in made}) > 60


async def test_a_fresh_judgement_finds_the_truth_of_every_post() -> None:
    rng = random.Random(2)
    posts = [flood_post(number, rng) for number in range(200)]
    stand = Bench(profile=FakeProfile(rules=RULES))
    await stand.run(list(posts))
    assert [one.action for one in stand.outlet.verdicts] != []
    assert {(truth_of(one.post_id), one.action.value) for one in stand.outlet.verdicts} == set(
        ACTIONS.items()
    )


async def told(*changes: dict[str, Any]) -> list[str]:
    """What the check says of the verdicts of three posts, changed one after the other."""
    posts = [{"id": f"{one}-{number}", "text": text_of("one", one)} for number, one in enumerate(SEVERITIES)]
    stand = Bench(profile=FakeProfile(rules=RULES))
    await stand.run(list(posts))
    bodies = [one.model_dump(mode="json") for one in stand.outlet.verdicts]
    for body, change in zip(bodies, changes, strict=False):
        body.update(change)
    records = [Record("", 0, number, None, body) for number, body in enumerate(bodies)]
    broken: list[str] = []

    def require(condition: object, message: str) -> None:
        if not condition:
            broken.append(message)

    stage: Any = SimpleNamespace(
        lane=SimpleNamespace(read=lambda: records),
        note=lambda *_what, **_facts: None,
        require=require,
    )
    check_truth(stage)
    return broken


async def test_the_check_tells_of_an_allow_that_no_fresh_judgement_gives() -> None:
    reused = {"assessed_by": "near_duplicate"}
    assert await told(reused) == []
    assert await told(reused, {}, {"action": "allow"}) == [
        "1 actions that no fresh judgement gives, 1 of them allow"
    ]
    assert await told(reused | {"reused_from": "nothing that stands"}) == [
        "1 verdicts reuse one that does not stand"
    ]
    assert await told() == ["no near duplicate was reused: nothing was shown"]


def test_a_worker_dies_at_the_point_that_is_ordered_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: killed.append(number))
    orders = Orders(tmp_path / "order")
    _die_if_ordered(orders.path, REUSED, ["a"], 1)
    orders.give(PUBLISHED, waiting=2)
    _die_if_ordered(orders.path, REUSED, ["a"], 2)
    _die_if_ordered(orders.path, PUBLISHED, [], 2)
    _die_if_ordered(orders.path, PUBLISHED, ["a"], 1)
    assert (killed, orders.deaths()) == ([], [])
    for _ in range(2):
        _die_if_ordered(orders.path, PUBLISHED, ["a", "b"], 3)
    (death,) = orders.deaths()
    assert killed == [signal.SIGKILL]
    assert (death.point, death.waiting, death.posts) == (PUBLISHED, 3, ("a", "b"))
    assert death.at <= datetime.now(UTC)
    assert orjson.loads(next(tmp_path.glob("death-*.json")).read_bytes())["point"] == PUBLISHED
