"""Output topics that are missing, deleted, closed, too small or without enough copies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from faults.administrator import configure_topic, delete_topics, deny_writes, permit_writes
from faults.hampered import PRODUCER
from faults.scenario import scenario
from support.workers import until

if TYPE_CHECKING:
    import random

    from faults.kubelet import Kubelet
    from faults.stage import Stage

_HOLD_S = 120.0
_RULES = {"#block": "unsafe", "#review": "controversial", "": "safe"}
_MARKS = ("#block", "#review", "#allow", "#allow", "#allow")
_RATE_PER_S = 100.0
_LONG_BYTES = 20_000
_QUICK_TIMEOUT = {"kafka.delivery_timeout_s": "3"}


def marked_post(number: int, rng: random.Random) -> dict[str, Any]:
    """A post whose text tells its topic by the rules above; every twentieth can only become a dead letter."""
    if number % 20 == 19:
        padding = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(_LONG_BYTES))
        return {"id": f"post-{number}", "text": "", "unknown_field": padding}
    return {"id": f"post-{number}", "text": f"post number {number} {_MARKS[number % len(_MARKS)]}"}


def goes_to_review(number: int) -> bool:
    """True for the numbers whose posts :func:`marked_post` sends to the review topic."""
    return number % 20 != 19 and _MARKS[number % len(_MARKS)] == "#review"


def wait_hold(stage: Stage, kubelet: Kubelet, topic: str) -> None:
    """Wait until a worker declares that a topic holds the stream, on /readyz and as a metric, and lives."""

    def declared() -> str | None:
        for worker in kubelet.workers:
            _status, body = worker.get("/readyz")
            reason: str = json.loads(body)["holds"].get("publish", {}).get("reason", "") if body else ""
            if topic in reason and worker.metric("sluicegate_hold") >= 1 and worker.get("/livez")[0] == 200:
                return reason
        return None

    reason = until(f"a declared hold of {topic}", declared, within_s=_HOLD_S)
    stage.history.note("hold", reason=reason)


def wait_no_hold(kubelet: Kubelet) -> None:
    """Wait until nothing holds."""
    until(
        "no hold",
        lambda: all(worker.metric("sluicegate_hold") == 0 for worker in kubelet.workers),
        within_s=_HOLD_S,
    )


def require_no_restart(stage: Stage, kubelet: Kubelet) -> None:
    """Demand that every worker lived through it all."""
    stage.note("restarts", restarts=kubelet.restarts)
    stage.require(not kubelet.restarts, f"workers ended: exit codes {dict(kubelet.exits)}")


@scenario(number=6, name="output-topic-missing", short=True)
def missing(stage: Stage) -> None:
    """Two topics are not there when the workers start: they hold until somebody makes them."""
    lane = stage.lane
    absent = [lane.outputs["review"], lane.outputs["dead_letter"]]
    delete_topics(lane.bootstrap, absent)
    lane.set_fake(rules=_RULES)
    kubelet = stage.kubelet(2, _QUICK_TIMEOUT)
    kubelet.wait_ready()
    for worker in kubelet.workers:
        told = worker.output.count('"topic_missing"')
        stage.require(told == len(absent), f"a worker told of {told} missing topics at its start")
    load = stage.load(_RATE_PER_S, make=marked_post)
    for topic in absent:
        wait_hold(stage, kubelet, topic)
        stage.kafka.create_topic(topic, 1)
    wait_no_hold(kubelet)
    load.stop()
    require_no_restart(stage, kubelet)


@scenario(number=6, name="output-topic-deleted")
def deleted(stage: Stage) -> None:
    """A topic is deleted under load and made again: what was not acknowledged by then comes out on the new one."""
    lane = stage.lane
    review = lane.outputs["review"]
    lane.set_fake(rules=_RULES)
    kubelet = stage.kubelet(2, _QUICK_TIMEOUT)
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=marked_post)
    gone: set[str] = set()
    for _ in range(stage.scaled(3)):
        lane.wait_answers(lane.answers() + 200, within_s=60)
        delete_topics(lane.bootstrap, [review])
        # Their verdicts may have gone with the topic; no guard brings those back.
        gone = {f"post-{number}" for number in range(load.made) if goes_to_review(number)}
        wait_hold(stage, kubelet, review)
        stage.kafka.create_topic(review, 1)
        wait_no_hold(kubelet)
    lane.wait_answers(lane.answers() + 200, within_s=60)
    load.stop()
    stage.sent[:] = [one for one in stage.sent if one.post_id not in gone]
    stage.note("deleted", gone_with_the_topic=len(gone))
    require_no_restart(stage, kubelet)


@scenario(
    number=6,
    name="output-not-authorised",
    properties={
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    },
)
def not_authorised(stage: Stage) -> None:
    """The right to write one topic is taken away under load and given back."""
    lane = stage.lane
    lane.set_fake(rules=_RULES)
    kubelet = stage.kubelet(2, _QUICK_TIMEOUT)
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=marked_post)
    for name in ("allow", "dead_letter")[: stage.scaled(2)]:
        lane.wait_answers(lane.answers() + 200, within_s=60)
        deny_writes(lane.bootstrap, lane.outputs[name])
        wait_hold(stage, kubelet, lane.outputs[name])
        permit_writes(lane.bootstrap, lane.outputs[name])
        wait_no_hold(kubelet)
    load.stop()
    require_no_restart(stage, kubelet)


@scenario(number=6, name="output-not-enough-replicas", brokers=3)
def not_enough_replicas(stage: Stage) -> None:
    """The verdict topics ask for three copies in sync, and one broker is away for a while."""
    lane = stage.lane
    for topic in lane.outputs.values():
        configure_topic(lane.bootstrap, topic, min_insync_replicas="3")
    lane.set_fake(rules=_RULES)
    kubelet = stage.kubelet(2)
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=marked_post)
    for _ in range(stage.scaled(2)):
        lane.wait_answers(lane.answers() + 200, within_s=60)
        node = stage.rng.randint(1, 3)
        stage.history.note("kill broker", node=node)
        stage.kafka.kill(node)
        wait_hold(stage, kubelet, lane.prefix)
        stage.kafka.restart(node)
        wait_no_hold(kubelet)
    load.stop()
    require_no_restart(stage, kubelet)


@scenario(number=6, name="output-too-small")
def too_small(stage: Stage) -> None:
    """Topics take only small records: what can be cut is cut, what cannot holds until the limit is raised."""
    lane = stage.lane
    configure_topic(lane.bootstrap, lane.outputs["dead_letter"], max_message_bytes="4000")
    configure_topic(lane.bootstrap, lane.outputs["review"], max_message_bytes="300")
    lane.set_fake(rules=_RULES)
    kubelet = stage.kubelet(2, _QUICK_TIMEOUT)
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=marked_post)
    wait_hold(stage, kubelet, lane.outputs["review"])
    configure_topic(lane.bootstrap, lane.outputs["review"], max_message_bytes=None)
    wait_no_hold(kubelet)
    lane.wait_answers(lane.answers() + stage.scaled(1000), within_s=60)
    load.stop()
    stage.wait_settled()
    letters = [record for record in lane.read() if record.is_dead_letter]
    cut = [letter.body for letter in letters if letter.body["truncated"]]
    stage.note("cut", cut=len(cut))
    stage.require(cut, "no dead letter was cut")
    stage.require(
        all(body["payload_bytes"] > _LONG_BYTES and body["payload_hash"] for body in cut),
        "a cut dead letter does not tell how long the whole is",
    )
    require_no_restart(stage, kubelet)


@scenario(number=6, name="producer-dies")
def producer_dies(stage: Stage) -> None:
    """A fatal error of librdkafka's producer ends the process each time; the next one goes on."""
    kubelet = stage.kubelet(3, module="faults.hampered", environment={PRODUCER: "0.005"})
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S)
    until(
        "workers ended by a dead producer",
        lambda: kubelet.exits[1] >= stage.scaled(12),
        within_s=150,
    )
    load.stop()
    stage.note("restarts", restarts=kubelet.restarts)
    stage.require(set(kubelet.exits) <= {1}, f"exit codes {dict(kubelet.exits)}")
