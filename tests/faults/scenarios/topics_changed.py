"""The posts topic is deleted, made again or given more partitions under running workers."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from faults.administrator import add_partitions, delete_topics
from faults.scenario import scenario
from faults.scenarios.cut_log import SLOW_S, kill, send_some, stop
from support.workers import LEAVE_S, READY_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.kubelet import Kubelet
    from faults.stage import Stage

_PARTITIONS = 3
_AWAY_S = 20.0
_MOST_LINES = 100
_NOTICED_S = 60.0


@scenario(number=20, name="topic-made-again", short=True)
def topic_made_again(stage: Stage) -> None:
    """The topic is deleted and made again, and holds more posts than the old one did when two workers look again."""
    kubelet = _settled_workers(stage, 2, posts=60)
    with _asleep(kubelet):
        _make_again(stage)
        stage.sent += stage.lane.send(
            {"id": f"new-{number}", "text": f"new number {number}"} for number in range(stage.scaled(600))
        )
    stage.wait_answered()


@scenario(number=20, name="topic-made-again-and-killed")
def topic_made_again_and_killed(stage: Stage) -> None:
    """It is made again while posts of the old one are held; then the worker is killed."""
    _made_again_in_a_hold(stage, kill)


@scenario(number=20, name="topic-made-again-and-stopped")
def topic_made_again_and_stopped(stage: Stage) -> None:
    """The same, and the worker is told to stop: no commit crosses from the old topic to the new one."""
    _made_again_in_a_hold(stage, stop)


@scenario(number=20, name="topic-made-again-and-answered-late")
def topic_made_again_and_answered_late(stage: Stage) -> None:
    """Posts of the old topic are answered under the new one; what this acknowledges is of the old one."""
    kubelet = _settled_workers(stage, 1)
    stage.lane.set_faults(slow={"marker": "old", "delay_s": SLOW_S})
    began = time.monotonic()
    send_some(stage, "old", stage.scaled(300))
    time.sleep(1.0)  # they are in the engine
    stage.lane.set_faults(slow={"marker": "new", "delay_s": 2 * SLOW_S})
    _make_again(stage)
    stage.sent += send_some(stage, "new", stage.scaled(600))
    time.sleep(max(0.0, began + SLOW_S + 2.0 - time.monotonic()))
    kill(stage, kubelet)
    stage.lane.set_faults()
    stage.wait_answered()


@scenario(number=20, name="partitions-added")
def partitions_added(stage: Stage) -> None:
    """A running worker reads the partitions that the topic gets."""
    kubelet = _settled_workers(stage, 1)
    add_partitions(stage.lane.bootstrap, stage.lane.posts, 2 * _PARTITIONS)
    began = time.monotonic()
    stage.sent += send_some(stage, "spread", stage.scaled(600))
    answered = stage.wait_answered(_NOTICED_S)
    stage.require(answered, f"posts of new partitions had no answer within {_NOTICED_S:g} s")
    stage.require(kubelet.restarts == 0, "the worker ended by itself")
    if answered:
        stage.note("answered", answered_after_s=round(time.monotonic() - began, 1))
    else:
        kill(stage, kubelet)  # its successor reads them


@scenario(number=20, name="topic-gone")
def topic_gone(stage: Stage) -> None:
    """The topic is not there for a while: workers hold quietly, leave in order, and go on once it is back."""
    kubelet = _settled_workers(stage, 1)
    delete_topics(stage.lane.bootstrap, [stage.lane.posts])
    watched = kubelet.workers
    before = {worker: worker.output.count("\n") for worker in watched}
    time.sleep(_AWAY_S)
    lines = max(worker.output.count("\n") - before[worker] for worker in watched)
    stage.note("gone", lines=lines)
    stage.require(lines <= _MOST_LINES, f"{lines} log lines of one worker in {_AWAY_S:g} s")
    stage.require(kubelet.restarts == 0, "a worker ended by itself")
    code = kubelet.terminate_one(stage.rng, within_s=LEAVE_S)
    stage.require(code == 0, f"a worker told to stop exited with {code}")
    stage.kafka.create_topic(stage.lane.posts, _PARTITIONS)
    stage.sent += send_some(stage, "new", stage.scaled(600))
    kubelet.wait_ready()
    stage.wait_answered()


def _made_again_in_a_hold(stage: Stage, end: Callable[[Stage, Kubelet], None]) -> None:
    kubelet = _settled_workers(stage, 1)
    stage.lane.set_faults(die=True)
    (worker,) = kubelet.workers
    held = send_some(stage, "old", stage.scaled(300))
    until("they are held", lambda: worker.metric("sluicegate_window_posts") == len(held), within_s=READY_S)
    _make_again(stage)
    stage.sent += send_some(stage, "new", stage.scaled(600))
    time.sleep(3.0)
    end(stage, kubelet)
    stage.lane.set_faults()
    stage.wait_answered()


def _settled_workers(stage: Stage, replicas: int, *, posts: int = 600) -> Kubelet:
    kubelet = stage.kubelet(replicas)
    kubelet.wait_ready()
    stage.sent += send_some(stage, "before", stage.scaled(posts))
    stage.wait_settled()
    return kubelet


@contextmanager
def _asleep(kubelet: Kubelet) -> Iterator[None]:
    """Let no worker run meanwhile."""
    workers = kubelet.workers
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGCONT)


def _make_again(stage: Stage) -> None:
    delete_topics(stage.lane.bootstrap, [stage.lane.posts])
    stage.kafka.create_topic(stage.lane.posts, _PARTITIONS)
    stage.history.note("made again")
