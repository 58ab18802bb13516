"""The screen in the worker, on Apache Kafka, with the promise kept.

The screen goes by words (``support.scripted_screen``), so that every test knows what it says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.pipeline.shortcuts.screening import is_sampled
from sluicegate.schemas import Post, content_hash
from support.collector import account
from support.scripted_screen import DIGEST
from support.workers import until

if TYPE_CHECKING:
    from support.workers import Lane, WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

POLICY = """
name: screened
version: "1"
rules:
  screen: {tolerance: 0.01}
  block_breaker: {share: null}   # a quarter of the posts is blocked
"""
RULES = {"[bad]": "unsafe", "hard": "safe", "easy": "safe"}
_SOON_S = 60.0
_TESTS = str(Path(__file__).parents[1])


def screened(lane: Lane, settings: dict[str, str]) -> WorkerProcess:
    """Start a worker with the scripted screen."""
    return lane.start(
        settings | {"screen.path": "any"}, {"PYTHONPATH": _TESTS}, module="support.scripted_screen"
    )


def text(number: int) -> str:
    return ("easy", "easy going", "hard", "hard [bad]")[number % 4] + f" {number}"


def posts(count: int) -> list[dict[str, Any]]:
    return [{"id": f"post-{number}", "text": text(number)} for number in range(count)]


def assessed_by(lane: Lane) -> dict[str, set[str]]:
    """Posts by who assessed them; after a rebalance some come from a cache."""
    found: dict[str, set[str]] = {}
    for one in lane.read():
        if not one.is_dead_letter:
            found.setdefault(one.body["assessed_by"], set()).add(one.body["post_id"])
    return found


def easy(sent: list[dict[str, Any]]) -> set[str]:
    """Those that the screen must answer: the easy ones that are no samples."""
    return {
        one["id"]
        for one in sent
        if "easy" in one["text"] and not is_sampled(content_hash(Post(**one)), ScreenSettings().sample_share)
    }


def test_a_worker_with_a_screen_that_is_killed_loses_nothing_and_repeats_alike(lane: Lane) -> None:
    lane.set_fake(call_overhead_s=0.1, rules=RULES)
    settings = lane.set_policy(POLICY)
    first, second = (screened(lane, settings) for _ in range(2))
    first.wait_ready()
    second.wait_ready()
    sent = lane.send(posts(4000))
    lane.wait_answers(800, within_s=_SOON_S)
    first.kill()
    assert lane.answers() < 4000, "the kill came too late to show anything"
    lane.wait_acknowledged(within_s=2 * _SOON_S)
    found = account(sent, lane.read())
    print(f"4,000 posts, one of two workers killed: {found.repeats_same_id} repeats with the same id")
    assert (found.lost, found.two_actions, found.repeats_other_id, found.unasked) == ((), (), 0, 0)
    by = assessed_by(lane)
    assert by["screen"] == easy(posts(4000))
    assert 0 < len(by["screen"]) < 2000  # some are samples
    assert by.keys() <= {"screen", "engine", "cache"}


def status(lane: Lane) -> list[dict[str, Any]]:
    done = lane.command("screen", "status", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_screen_that_is_wrong_is_switched_off_until_somebody_resets_it(lane: Lane) -> None:
    lane.set_fake(rules=RULES)
    settings = lane.set_policy(POLICY) | {"screen.sample_share": "0.5"}
    first, second = (screened(lane, settings) for _ in range(2))
    first.wait_ready()
    second.wait_ready()

    lane.send({"id": f"p{number}", "text": f"easy [bad] {number}"} for number in range(120))
    (turn,) = until("it is switched off", lambda: status(lane), within_s=_SOON_S)
    assert (turn["screen"], turn["state"]) == (DIGEST, "open")
    for worker in (first, second):
        until("each knows", lambda: worker.metric("sluicegate_screen_off") == 1, within_s=_SOON_S)  # noqa: B023 - it is asked at once
    lane.wait_acknowledged(within_s=_SOON_S)

    first.kill()
    second.kill()
    first = screened(lane, settings)
    first.wait_ready()
    assert first.metric("sluicegate_screen_off") == 1
    lane.send({"id": f"q{number}", "text": f"easy {number}"} for number in range(40))
    lane.wait_acknowledged(within_s=_SOON_S)
    assert by_of(lane, "q") == {"engine"}

    done = lane.command("screen", "reset", DIGEST, "--reason", "looked at")
    assert (done.returncode, done.stdout) == (0, f"{DIGEST}: reset\n")
    until("it answers again", lambda: first.metric("sluicegate_screen_off") == 0, within_s=_SOON_S)
    lane.send({"id": f"r{number}", "text": f"easy going {number}"} for number in range(40))
    lane.wait_acknowledged(within_s=_SOON_S)
    assert by_of(lane, "r") == {"engine", "screen"}
    stamps = {one.body["engine"]["digest"] for one in lane.read() if one.body["assessed_by"] == "screen"}
    assert stamps == {DIGEST}
    again = lane.command("screen", "reset", DIGEST, "--reason", "twice")
    assert again.returncode == 1
    assert "`sluicegate screen status`" in again.stderr


def by_of(lane: Lane, names: str) -> set[str]:
    """Who assessed the posts whose ids begin so."""
    return {one.body["assessed_by"] for one in lane.read() if one.body["post_id"].startswith(names)}
