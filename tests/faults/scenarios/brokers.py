"""Brokers that are killed, stay away and come back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from confluent_kafka.admin import AdminClient

from faults.scenario import scenario
from support.workers import QUICK, until

if TYPE_CHECKING:
    from faults.stage import Stage

SESSION_S = float(QUICK["kafka.session_timeout_s"])
_RATE_PER_S = 100.0
_IN_SYNC_S = 60.0


@scenario(number=4, name="broker-restart", short=True)
def broker_restart(stage: Stage) -> None:
    """The only broker is killed under load and started again at once."""
    _outages(stage, count=5, away_s=0.0)


@scenario(number=4, name="brokers-away")
def brokers_away(stage: Stage) -> None:
    """All brokers stay away for three session timeouts."""
    _outages(stage, count=3, away_s=3 * SESSION_S)


def _outages(stage: Stage, *, count: int, away_s: float) -> None:
    stage.lane.set_fake(call_overhead_s=0.05)
    kubelet = stage.kubelet(2)
    kubelet.wait_ready()
    stage.load(_RATE_PER_S)
    outages = stage.scaled(count)
    for _ in range(outages):
        time.sleep(stage.rng.uniform(1.0, 6.0))
        stage.note("broker killed")
        stage.kafka.kill()
        time.sleep(away_s)
        stage.kafka.restart()
        stage.note("broker back")
    time.sleep(stage.rng.uniform(1.0, 3.0))
    stage.note("outages", outages=outages, worker_exits=sum(kubelet.exits.values()))


@scenario(number=4, name="leader-change", brokers=3, properties={"min.insync.replicas": "2"})
def leader_change(stage: Stage) -> None:
    """Of three brokers, the leader of a partition is killed under load, comes back in sync, and so on."""
    stage.lane.set_fake(call_overhead_s=0.05)
    kubelet = stage.kubelet(2)
    kubelet.wait_ready()
    stage.load(_RATE_PER_S)
    admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap, "log_level": 0})
    changes = stage.scaled(4)
    for number in range(changes):
        time.sleep(stage.rng.uniform(1.0, 4.0))
        partition = number % 3
        leader = _partitions(admin, stage.lane.posts)[partition].leader
        stage.history.note("leader killed", broker=leader, partition=partition)
        stage.kafka.kill(leader)
        time.sleep(stage.rng.uniform(2.0, 2 * SESSION_S))
        stage.kafka.restart(leader)
        until(
            "every copy is in sync",
            lambda: all(len(one.isrs) == 3 for one in _partitions(admin, stage.lane.posts).values()),
            within_s=_IN_SYNC_S,
        )
    stage.note("leaders changed", leader_changes=changes, worker_exits=sum(kubelet.exits.values()))


def _partitions(admin: AdminClient, topic: str) -> dict[int, Any]:
    found: dict[int, Any] = admin.list_topics(topic, timeout=20).topics[topic].partitions
    return found
