"""Members that join and leave while posts are held, or in the engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import Producer

from faults.kubelet import Kubelet
from faults.scenario import scenario
from support.collector import Sent, ends
from support.workers import QUICK

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from faults.stage import Stage

_SLOW_S = float(QUICK["drain.finish_s"]) + 1  # a drain gives such a post back, and its answer comes too late
_COMMITS_S = 6 * float(QUICK["kafka.commit_interval_s"])
_SLOW_ONE_IN = 300
_RATE_PER_S = 100.0
_LATE_S = 25.0  # a partition has gone to another member and come back by then
_BEHIND_EACH_HEAD = 10
_DELIVERED_S = 30.0
HASTY = 'name: hasty\nversion: "1"\ntenants: {hasty: {rules: {max_wait_seconds: 1}}}\n'


@scenario(number=3, name="members-with-slow-heads", short=True)
def members_with_slow_heads(stage: Stage) -> None:
    """Some posts take longer than a drain waits: they are given back, and answered by those who lost them too late."""
    stage.lane.set_faults(slow={"marker": "slow", "delay_s": _SLOW_S})
    _come_and_go(stage)


@scenario(number=3, name="members-in-a-hold")
def members_in_a_hold(stage: Stage) -> None:
    """The engine is away: every post taken is held, handed over and held again; then the engine comes back.

    Workers join without it, since their policy has a tenant who waits a second only. No post is that tenant's.
    """
    stage.lane.set_faults(die=True)
    _come_and_go(stage, stage.lane.set_policy(HASTY), wait=Kubelet.wait_joined)
    stage.require(stage.lane.answers() == 0, "an engine that is away answered")
    stage.lane.set_faults()


@scenario(number=3, name="answered-after-it-came-back")
def answered_after_it_came_back(stage: Stage) -> None:
    """Partitions go away and come back while their posts are in the engine, which answers all but their first posts.

    These answers are of an assignment that has ended. The first posts are in work again, and the worker is killed.
    """
    lane = stage.lane
    lane.set_faults(hang={"marker": "head"}, slow={"marker": "late", "delay_s": _LATE_S})
    kubelet = stage.kubelet(
        1, {"micro_batch.posts": "1", "micro_batch.in_flight": "64", "engine.score_timeout_s": "120"}
    )
    kubelet.wait_ready()
    began = time.monotonic()
    for name in ("head", *["late"] * _BEHIND_EACH_HEAD):
        _send_to_each(stage, name)
    time.sleep(1.0)  # they are in the engine
    kubelet.scale(2)
    kubelet.wait_ready()
    kubelet.scale(1)
    time.sleep(max(0.0, began + _LATE_S + _COMMITS_S - time.monotonic()))
    stage.note("answered late", answers=lane.answers())
    kubelet.kill(*kubelet.workers)
    lane.set_faults()
    stage.wait_answered()


def _come_and_go(
    stage: Stage,
    settings: dict[str, str] | None = None,
    *,
    wait: Callable[[Kubelet], None] = Kubelet.wait_ready,
) -> None:
    kubelet = stage.kubelet(2, {"micro_batch.in_flight": "8"} | (settings or {}))
    wait(kubelet)
    load = stage.load(_RATE_PER_S, make=_sometimes_slow)
    members, changes = 2, stage.scaled(12)
    for _ in range(changes):
        time.sleep(stage.rng.uniform(1.0, 6.0))
        members = stage.rng.choice([count for count in (1, 2, 3) if count != members])
        kubelet.scale(members)
    kubelet.scale(2)
    wait(kubelet)
    load.stop()
    stage.note("came and went", changes=changes)
    # A worker may be told to stop before it listens: then the signal itself ends it.
    stage.require(set(kubelet.exits) <= {0, -15}, f"exit codes {dict(kubelet.exits)}")
    alive = [worker.get("/livez")[0] for worker in kubelet.workers]
    stage.require(set(alive) == {200}, f"/livez answers {alive}")


def _send_to_each(stage: Stage, name: str) -> None:
    """Send one post to each partition."""
    lane = stage.lane
    producer = Producer({"bootstrap.servers": lane.bootstrap, "acks": "all", "log_level": 2})

    def delivered(error: Any, message: Any, post_id: str) -> None:
        assert error is None, error
        stage.sent.append(Sent(message.topic(), message.partition(), message.offset(), post_id))

    for partition in ends(lane.bootstrap, lane.posts):
        post = {
            "id": f"post-{len(stage.sent)}-{partition}",
            "text": f"{name} of {partition}, {len(stage.sent)}",
        }
        producer.produce(
            lane.posts,
            orjson.dumps(post),
            partition=partition,
            on_delivery=lambda error, message, post_id=post["id"]: delivered(error, message, post_id),
        )
    assert producer.flush(_DELIVERED_S) == 0


def _sometimes_slow(number: int, rng: random.Random) -> dict[str, Any]:
    speed = "slow" if rng.randrange(_SLOW_ONE_IN) == 0 else "plain"
    return {"id": f"post-{number}", "text": f"a {speed} post, number {number}"}
