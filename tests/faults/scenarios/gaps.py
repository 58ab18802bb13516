"""Logs that lack offsets, groups that begin late, and a cluster where nothing may be created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from faults.administrator import deny_creation, permit_creation
from faults.scenario import scenario
from support.collector import committed, ends
from support.gaps import Transactions, compact, delete_records
from support.workers import until

if TYPE_CHECKING:
    from faults.stage import Stage

_SETTLE_S = 60.0
_NEVER = "never-"
_RIGHTS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


def _posts(name: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{name}-{number}", "text": f"{name} {number}"} for number in range(count)]


def _missed(stage: Stage) -> float:
    return sum(
        worker.metric("sluicegate_records_missed_total")
        for kubelet in stage.kubelets
        for worker in kubelet.workers
    )


@scenario(number=13, name="transactions")
def transactions(stage: Stage) -> None:
    """Committed and aborted transactions among plain posts and each other, while workers are killed."""
    lane = stage.lane
    lane.set_fake(call_overhead_s=0.05)
    kubelet = stage.kubelet(2)
    kubelet.wait_ready()
    turns = stage.scaled(40)
    aborted = 0
    with (
        Transactions(lane.bootstrap, lane.posts) as first,
        Transactions(lane.bootstrap, lane.posts) as second,
    ):
        for turn in range(turns):
            size = stage.rng.randrange(1, 60)
            first.begin(_posts(f"kept-{turn}", size))
            second.begin(_posts(f"{_NEVER}{turn}", size))
            stage.sent += lane.send(_posts(f"plain-{turn}", stage.rng.randrange(10)))
            second.abort()
            aborted += size
            stage.sent += first.commit()
            if stage.rng.random() < 0.2:
                kubelet.kill_one(stage.rng)
        second.begin(_posts(f"{_NEVER}at-the-end", 50))
        second.abort()
    stage.wait_settled(_SETTLE_S)
    answered = [record.body.get("post_id", "") for record in lane.read()]
    wrong = sum(name.startswith(_NEVER) for name in answered)
    stage.require(wrong == 0, f"{wrong} aborted posts were answered")
    stage.require(_missed(stage) == 0, "markers or aborted records were counted as missed")
    stage.note("transactions", aborted_posts=aborted, restarts=kubelet.restarts)


@scenario(number=13, name="compacted-input", partitions=1)
def compacted(stage: Stage) -> None:
    """A compacted input topic, read from its beginning by workers that are killed over a held post."""
    lane = stage.lane
    stage.sent += compact(lane)
    lane.set_faults(hang={"marker": "revised-7"})
    kubelet = stage.kubelet(1, {"micro_batch.posts": "1"})
    held = [one.offset for one in stage.sent if one.post_id == "revised-7"]
    for _ in range(2):
        kubelet.wait_ready()
        until(
            "all but the held are answered",
            lambda: lane.answers() >= len(stage.sent) - len(held),
            within_s=_SETTLE_S,
        )
        kubelet.kill_one(stage.rng)
        reached = committed(lane.bootstrap, lane.group, lane.posts)[0]
        stage.require(reached <= min(held), f"{reached} was committed over a held post at {min(held)}")
    lane.set_faults()
    kubelet.wait_ready()
    stage.wait_settled(_SETTLE_S)
    stage.require(_missed(stage) == 0, "compacted records were counted as missed")
    stage.note("compacted", offsets=ends(lane.bootstrap, lane.posts)[0], standing=len(stage.sent))


@scenario(number=13, name="retention", short=True)
def retention(stage: Stage) -> None:
    """Retention takes records under stopped workers: they are counted to the last one, and the rest is answered."""
    lane = stage.lane
    expected = 0
    for turn in range(stage.scaled(3)):
        kubelet = stage.kubelet(1)
        kubelet.wait_ready()
        stage.sent += lane.send(_posts(f"read-{turn}", 300))
        stage.wait_settled(_SETTLE_S)
        kubelet.stop()
        left_at = committed(lane.bootstrap, lane.group, lane.posts)
        gone = lane.send(_posts(f"gone-{turn}", 300))
        log_start = {
            number: end - stage.rng.randrange(20) for number, end in ends(lane.bootstrap, lane.posts).items()
        }
        delete_records(lane.bootstrap, lane.posts, log_start)
        stage.sent += [one for one in gone if one.offset >= log_start[one.partition]]
        expected = sum(log_start.values()) - sum(left_at.values())
    stage.kubelet(1).wait_ready()
    stage.sent += lane.send(_posts("later", 300))
    stage.wait_settled(_SETTLE_S)
    stage.require(_missed(stage) == expected, f"{_missed(stage)} counted as missed, {expected} were")
    stage.note("retention", missed_last=expected)


@scenario(number=14, name="first-start")
def first_start(stage: Stage) -> None:
    """A new group on a topic that holds posts already, some of them gone: it answers what is there."""
    lane = stage.lane
    before = lane.send(_posts("before", stage.scaled(5000)))
    log_start = {number: end // 3 for number, end in ends(lane.bootstrap, lane.posts).items()}
    delete_records(lane.bootstrap, lane.posts, log_start)
    stage.sent += [one for one in before if one.offset >= log_start[one.partition]]
    kubelet = stage.kubelet(3)
    kubelet.wait_ready()
    stage.wait_settled(_SETTLE_S)
    stage.require(_missed(stage) == 0, "a group that had read nothing yet missed something")
    stage.note("first start", posts_there=len(stage.sent))


@scenario(
    number=15,
    name="nothing-may-be-created",
    properties=_RIGHTS | {"auto.create.topics.enable": "true"},
)
def nothing_may_be_created(stage: Stage) -> None:
    """Brokers that create topics for whoever may, and workers that may not: they run, and no topic comes to be."""
    lane = stage.lane
    before = _topics(stage)
    # The brokers make the topic of their groups on the first question; here they are held to the same rights.
    until("groups have a coordinator", lambda: _is_coordinated(stage), within_s=_SETTLE_S)
    deny_creation(lane.bootstrap)
    try:
        kubelet = stage.kubelet(2)
        kubelet.wait_ready()
        stage.sent += lane.send(_posts("post", stage.scaled(1000)))
        stage.wait_settled(_SETTLE_S)
        kubelet.kill_one(stage.rng)
        stage.sent += lane.send(_posts("more", stage.scaled(1000)))
        stage.wait_settled(_SETTLE_S)
        _ask_for(stage, f"{lane.prefix}.absent")  # that the rights are what they are called
        created = _topics(stage) - before
    finally:
        permit_creation(lane.bootstrap)
    stage.require(not created, f"topics came to be: {sorted(created)}")


def _ask_for(stage: Stage, topic: str) -> None:
    """What makes such brokers create a topic, for whoever may."""
    producer = Producer({"bootstrap.servers": stage.lane.bootstrap, "log_level": 0})
    producer.list_topics(topic, timeout=30.0)


def _is_coordinated(stage: Stage) -> bool:
    try:
        return stage.behind() == 0
    except KafkaException:
        return False


def _topics(stage: Stage) -> set[str]:
    """All topics but the brokers' own."""
    admin = AdminClient({"bootstrap.servers": stage.lane.bootstrap, "log_level": 0})
    return {name for name in admin.list_topics(timeout=30.0).topics if not name.startswith("__")}
