"""A candidate that acts, on Apache Kafka: by signed facts alone, on its share alone, until it is rolled back."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from faults.administrator import delete_topics
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.states import CandidateState, Role
from support.candidates import EXPERIMENT, Experiment
from support.collector import account
from support.workers import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.kafka import ApacheKafka
    from support.workers import Lane, WorkerProcess

pytestmark = pytest.mark.kafka

S = CandidateState
INCUMBENT = """
name: old
version: "1"
rules: {block_at: {unsafe: null}, review_at: {unsafe: null, risk: null}, explain_at: 1.0}
tenants: {forum: {rules: {canary: true}}}
"""
CANDIDATE = """
name: new
version: "1"
rules: {adapter: next, block_at: {unsafe: 0.0}, block_breaker: {share: null}}
"""


@pytest.fixture
def experiment(lane: Lane, kafka: ApacheKafka) -> Experiment:
    """An incumbent that allows all, and a candidate with an adapter of its own that blocks all."""
    found = Experiment(lane)
    kafka.create_topic(found.topic, 1)
    found.set_policies(INCUMBENT, CANDIDATE)
    lane.set_fake()
    (lane.folder / "next.json").write_text(json.dumps({"rules": {"text": "unsafe"}}))
    done = found.command("register", "--reason", "trained anew", by="anna")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return found


def start(experiment: Experiment, count: int = 1, **settings: str) -> list[WorkerProcess]:
    workers = [
        experiment.lane.start(experiment.settings | experiment.engines | settings) for _ in range(count)
    ]
    for worker in workers:
        worker.wait_ready()
    return workers


def told(worker: WorkerProcess) -> str:
    body = worker.get("/readyz")[1]
    return str(json.loads(body)["candidate"]) if body else ""


def wait_told(workers: list[WorkerProcess], said: str, within_s: float = 20) -> None:
    until(f"workers say {said}", lambda: all(said in told(one) for one in workers), within_s=within_s)


def posts(first: int, count: int, tenant: str = "forum") -> list[dict[str, Any]]:
    return [
        {"id": f"p{number}", "text": f"text {number}", "tenant": tenant}
        for number in range(first, first + count)
    ]


def judged(lane: Lane) -> dict[tuple[str, str], str]:
    """By tenant and post, the policy that decided; each verdict is one judge's in all of its parts."""
    found = {}
    for record in lane.read():
        body = record.body
        policy = body["policy"]["name"]
        assert (policy, body["engine"]["adapter"], body["action"]) in {
            ("old", None, "allow"),
            ("new", "next", "block"),
        }
        found[body["tenant"], body["post_id"]] = policy
    return found


def test_from_shadow_to_canary_to_promotion_and_back(experiment: Experiment) -> None:
    lane = experiment.lane
    workers = start(experiment, 2)
    assert "registered; the incumbent acts" in told(workers[0])
    for state in (S.GATED, S.SHADOW, S.CERTIFIED):
        experiment.say(state)
    wait_told(workers, "certified; the incumbent acts")
    sent = lane.send(posts(0, 60))
    lane.wait_answers(60, within_s=30)
    assert set(judged(lane).values()) == {"old"}

    own = experiment.command("canary", "--share", "0.5", "--reason", "mine", by="anna")
    assert own.returncode == 1
    assert "anna is no approver here" in own.stderr
    done = experiment.command("canary", "--share", "0.5", "--reason", "looked at 50", by="otto")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "retrained: canary 0.5 since" in done.stdout
    wait_told(workers, "canary; it acts on 50.00%")
    assert all(worker.metric("sluicegate_candidate_acts") == 0.5 for worker in workers)
    sent += lane.send(posts(100, 100) + posts(200, 60, tenant="other"))
    lane.wait_answers(220, within_s=30)
    sample, found = ShadowSample(EXPERIMENT, 0.5), judged(lane)
    of_canary = {name: found["forum", name] for name in (f"p{number}" for number in range(100, 200))}
    assert of_canary == {name: "new" if sample.holds("forum", name) else "old" for name in of_canary}
    assert {policy for (tenant, _), policy in found.items() if tenant == "other"} == {"old"}
    assert (
        sum(worker.metric("sluicegate_candidate_posts_total") for worker in workers)
        == Counter(of_canary.values())["new"]
    )

    experiment.say(S.PROMOTED, by="amy")
    wait_told(workers, "promoted; it acts on 100.00%")
    late = start(experiment)[0]  # one that begins now acts as the others do, from its first post
    assert "promoted; it acts" in told(late)
    sent += lane.send(posts(300, 60) + posts(400, 60, tenant="other"))
    lane.wait_answers(340, within_s=30)
    assert {judged(lane)[one] for one in judged(lane) if int(one[1][1:]) >= 300} == {"new"}

    done = experiment.command("rollback", "--reason", "it blocks all", by="anna")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    wait_told([*workers, late], "rolled_back; the incumbent acts", within_s=10)
    sent += lane.send(posts(500, 60))
    lane.wait_answers(400, within_s=30)
    assert {policy for (_, name), policy in judged(lane).items() if int(name[1:]) >= 500} == {"old"}
    lane.wait_acknowledged(within_s=30)
    balance = account(sent, lane.read())
    assert (balance.lost, balance.two_actions) == ((), ())

    status = experiment.command("status", "--json")
    said = json.loads(status.stdout)
    assert [fact["state"] for fact in said["facts"]] == [
        "registered",
        "gated",
        "shadow",
        "certified",
        "canary",
        "promoted",
        "rolled_back",
    ]
    assert (said["state"], said["refused"]) == ("rolled_back", 0)


def test_what_is_unsigned_forged_or_of_another_judge_changes_nothing(
    experiment: Experiment, tmp_path: Path
) -> None:
    from confluent_kafka import Producer  # noqa: PLC0415 - as the hostile writer has it

    from sluicegate.pipeline.shadow.signatures import FactSigner  # noqa: PLC0415 - the same
    from support.candidates import write_keys  # noqa: PLC0415 - the same

    for state in (S.GATED, S.SHADOW, S.CERTIFIED):
        experiment.say(state)
    (worker,) = start(experiment)
    head = experiment.ledger("anna").read().head
    assert head is not None
    said = head.model_copy(
        update={"follows": head.digest, "state": S.CANARY, "role": Role.APPROVER, "by": "otto", "share": 0.5}
    )
    stranger = FactSigner(write_keys(tmp_path / "stranger", {"otto": "approver"})["otto"].read_bytes())
    editor = FactSigner(experiment.private["anna"].read_bytes())
    by_editor = said.model_copy(update={"by": "anna"})
    producer = Producer({"bootstrap.servers": experiment.lane.bootstrap})
    for value in (said.encode(), stranger.sign(said), editor.sign(said), editor.sign(by_editor), b"{", b""):
        for topic in (experiment.topic, f"{experiment.lane.prefix}.control"):
            producer.produce(topic, value, f"candidate {EXPERIMENT} x".encode())
    assert producer.flush(20) == 0
    until(
        "all are refused",
        lambda: worker.metric("sluicegate_candidate_facts_refused_total") == 6,
        within_s=20,
    )
    assert "certified; the incumbent acts" in told(worker)
    assert worker.output.count("candidate_fact_refused") == 3  # the same reason is told once

    # A worker whose candidate is another one, or whose incumbent is, lets the incumbent act.
    experiment.say(S.CANARY, share=1.0)
    wait_told([worker], "canary; it acts")
    experiment.policies["candidate"].write_text(CANDIDATE.replace('"1"', '"2"'))
    (other,) = start(experiment)
    assert "another candidate than the facts name" in told(other)
    assert other.metric("sluicegate_candidate_barred") == 1
    experiment.policies["incumbent"].write_text(INCUMBENT.replace('"1"', '"2"'))
    wait_told([worker], "another incumbent than the facts name")
    sent = experiment.lane.send(posts(0, 40))
    experiment.lane.wait_answers(40, within_s=30)
    assert set(judged(experiment.lane).values()) == {"old"}
    assert account(sent, experiment.lane.read()).lost == ()


def test_a_history_that_cannot_be_read_lets_the_incumbent_act(experiment: Experiment) -> None:
    experiment.bring_to(S.CANARY, share=1.0)
    (worker,) = start(experiment)
    wait_told([worker], "canary; it acts")
    delete_topics(experiment.lane.bootstrap, [experiment.topic])
    (late,) = start(experiment)
    assert "not registered; the incumbent acts" in told(late)
    assert late.metric("sluicegate_candidate_followed") == 0
    # The other one acts for half a minute more, then does not: nobody could roll it back.
    wait_told([worker], "facts do not reach this worker", within_s=60)
    sent = experiment.lane.send(posts(0, 40))
    experiment.lane.wait_answers(40, within_s=30)
    assert set(judged(experiment.lane).values()) == {"old"}
    assert account(sent, experiment.lane.read()).lost == ()
