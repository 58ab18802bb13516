"""The switch: thrown by samples, known from the control topic, reset by people."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.clock import Clock
from sluicegate.pipeline.control.topic import read_changes
from sluicegate.pipeline.facts import ScreenFact
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.pipeline.shortcuts import switch as module
from sluicegate.pipeline.shortcuts.screening import Sample
from sluicegate.pipeline.shortcuts.switch import Switch
from sluicegate.schemas import Action

if TYPE_CHECKING:
    import pytest

OWN, OTHER = "sha256:" + "5" * 64, "sha256:" + "6" * 64
TURN = ScreenFact(
    state="open", screen=OWN, generation=0, at=datetime(2026, 1, 1, tzinfo=UTC), by="worker-1", why="wrong"
)
POLICY = "sha256:" + "a" * 64


def made(metrics: Metrics | None = None, **settings: Any) -> Switch:
    return Switch(ScreenSettings(**settings), Clock(), metrics or Metrics(), OWN)


_numbers = itertools.count()


def compare(
    switch: Switch,
    judged: Action,
    tolerance: float | None = 0.01,
    *,
    screen: str = OWN,
    policy: str = POLICY,
    content: str | None = None,
) -> None:
    """One sample that the screen would have allowed; of a text of its own, unless it is said which."""
    said = f"sha256:{next(_numbers):064x}" if content is None else content
    switch.compare(Sample(screen, Action.ALLOW, policy), judged, tolerance, policy=policy, content=said)


def wrong(
    switch: Switch, times: int, screen: str = OWN, tolerance: float | None = 0.01, policy: str = POLICY
) -> None:
    for _ in range(times):
        compare(switch, Action.BLOCK, tolerance, screen=screen, policy=policy)


def test_agreement_never_throws_it() -> None:
    switch = made()
    for _ in range(5_000):
        compare(switch, Action.ALLOW)
    assert not switch.is_off(OWN)


def test_it_is_thrown_for_one_screen_and_told_once() -> None:
    switch = made()
    told: list[ScreenFact] = []
    switch.announce_to(told.append)
    wrong(switch, 50, OTHER)
    assert switch.is_off(OTHER)
    assert not switch.is_off(OWN)
    assert [turn.screen for turn in told] == [OTHER]


def test_what_is_tolerated_by_one_tenant_is_counted_apart_from_what_is_by_another() -> None:
    switch = made()
    for number in range(600):
        judged = Action.REVIEW if number % 20 == 0 else Action.ALLOW  # 5 %
        compare(switch, judged, 0.1)
        compare(switch, Action.ALLOW)
    assert not switch.is_off(OWN)


def test_a_tenant_that_tolerates_nothing_any_more_counts_in_the_metric_alone() -> None:
    metrics = Metrics()
    switch = made(metrics)
    wrong(switch, 50, tolerance=None)
    assert not switch.is_off(OWN)
    labels = {"screen": "allow", "engine": "block"}
    assert metrics.registry.get_sample_value("sluicegate_screen_samples_total", labels) == 50


def test_another_policy_begins_a_new_count() -> None:
    switch = made()
    wrong(switch, 1)
    wrong(switch, 1, policy="sha256:" + "b" * 64)
    assert not switch.is_off(OWN)
    wrong(switch, 10)
    assert switch.is_off(OWN)


def test_a_reset_lets_it_answer_again_and_begins_a_new_count() -> None:
    metrics = Metrics()
    switch = made(metrics)
    wrong(switch, 10)
    assert metrics.registry.get_sample_value("sluicegate_screen_off") == 1
    assert switch.learn([TURN.model_copy(update={"state": "closed", "generation": 1})]) == 0
    assert not switch.is_off(OWN)
    assert metrics.registry.get_sample_value("sluicegate_screen_off") == 0
    wrong(switch, 1)
    assert not switch.is_off(OWN)
    told: list[ScreenFact] = []
    switch.announce_to(told.append)
    wrong(switch, 10)
    assert [turn.generation for turn in told] == [1]  # and so newer than the reset


def test_what_others_tell_counts_whatever_order_it_comes_in() -> None:
    closed = TURN.model_copy(update={"state": "closed", "generation": 1})
    for turns in ([TURN, closed], [closed, TURN]):
        switch = made()
        switch.learn(turns)
        assert not switch.is_off(OWN)
    switch = made()
    switch.learn([TURN])
    assert switch.is_off(OWN)
    switch.forget([TURN.key])
    assert not switch.is_off(OWN)


def test_a_flood_of_facts_has_an_end_and_a_reset_is_heard_all_the_same() -> None:
    switch = made()
    flood = [
        TURN.model_copy(update={"screen": f"sha256:{number:064x}"}) for number in range(module.FACTS - 1)
    ]
    assert switch.learn([TURN, *flood]) == 0
    assert switch.learn([TURN.model_copy(update={"screen": OTHER})]) == 1
    assert switch.learn([TURN.model_copy(update={"state": "closed", "generation": 1})]) == 0
    assert not switch.is_off(OWN)


def test_tallies_are_bounded() -> None:
    switch = made()
    for number in range(2_000):
        compare(switch, Action.ALLOW, screen=f"sha256:{number:064x}")
    assert len(switch._tallies) <= 256  # what is bounded is private


def test_one_text_counts_once_however_often_it_is_posted() -> None:
    metrics = Metrics()
    switch = made(metrics)
    harmless, harmful = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    for _ in range(1_000):
        compare(switch, Action.ALLOW, content=harmless)
        compare(switch, Action.BLOCK, content=harmful)
    labels = {"screen": "allow", "engine": "allow"}
    assert metrics.registry.get_sample_value("sluicegate_screen_samples_total", labels) == 1_000
    assert not switch.is_off(OWN)  # one wrong answer of two throws nothing; a thousand would
    wrong(switch, 10)
    assert switch.is_off(OWN)  # the harmless copies did not dilute it


def test_what_was_not_counted_counts_when_it_comes_again() -> None:
    switch = made()
    text = "sha256:" + "1" * 64
    switch.follow(followed=False)
    compare(switch, Action.BLOCK, 0.0, content=text)
    switch.follow(followed=True)
    assert not switch.is_off(OWN)
    compare(switch, Action.ALLOW, 0.0, content=text)  # another tenant's bars
    assert not switch.is_off(OWN)
    compare(switch, Action.BLOCK, 0.0, content=text)
    assert switch.is_off(OWN)


def test_texts_that_were_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TEXTS", 100)
    switch = made()
    for _ in range(500):
        compare(switch, Action.ALLOW)
    assert len(switch._counted) <= 100  # what is bounded is private


def test_a_record_that_is_none_of_ours_is_refused() -> None:
    def record(key: bytes, value: bytes) -> TopicRecord:
        return TopicRecord("sluicegate.control", 0, 0, key, value, None)

    assert read_changes([record(TURN.key, TURN.encode())]) == ([TURN], 0)
    assert read_changes([record(b"other", TURN.encode())]) == ([], 1)
    hostile = TURN.model_copy(update={"why": "\x1b[2J"})
    assert read_changes([record(TURN.key, hostile.encode())]) == ([], 1)
    assert read_changes([record(b"k", b'{"kind": "screen"}')]) == ([], 1)
    assert read_changes([record(b"k", b'{"kind": ["screen"]}')]) == ([], 0)
