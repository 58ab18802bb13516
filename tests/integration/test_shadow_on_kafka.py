"""A candidate that judges beside the incumbent, on Apache Kafka: it acts on nothing, holds nobody up, and is ruled on."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest

from sluicegate.pipeline.shadow.comparator import report_digest
from sluicegate.pipeline.shadow.records import ComparedPost, read_record
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.states import CandidateState
from support.candidates import EXPERIMENT
from support.collector import account, read
from support.shadow import EQUAL, INCUMBENT, MILD, ShadowLane, digest_of, posts
from support.workers import until

if TYPE_CHECKING:
    from support.kafka import ApacheKafka
    from support.workers import Lane

pytestmark = pytest.mark.kafka

S = CandidateState


def sampled(sent: list[str], share: float) -> set[str]:
    return {name for name in sent if ShadowSample(EXPERIMENT, share).holds("forum", name)}


def test_a_candidate_is_certified_beside_workers_that_know_nothing_of_it(
    lane: Lane, kafka: ApacheKafka
) -> None:
    shadow_lane = ShadowLane(lane, kafka, EQUAL, share=0.5)
    live, shadow = shadow_lane.start_live(), shadow_lane.start_shadow()
    for worker in (live, shadow):
        worker.wait_ready()
    shadow_lane.experiment.bring_to(S.SHADOW, share=0.5)
    comparator = shadow_lane.start_comparator("--until-ruled")
    sent = lane.send([*posts(0, 500), b"no post"])
    assert comparator.wait(60) == 0, comparator.output
    lane.wait_answers(501, within_s=30)

    records = lane.read()
    accounting = account(sent, records)
    assert (accounting.lost, accounting.repeats_other_id, accounting.two_actions) == ((), 0, ())
    judged = [one.body for one in records if one.topic != lane.outputs["dead_letter"]]
    assert {one["engine"]["digest"] for one in judged} == {digest_of(INCUMBENT)}, (
        "the live topics are the incumbent's"
    )
    shadowed = [one.body for one in shadow_lane.shadowed()]
    assert {one["engine"]["digest"] for one in shadowed} == {digest_of(EQUAL)}
    names = [one["id"] for one in posts(0, 500)]
    assert {one["post_id"] for one in shadowed} == sampled(names, 0.5)
    assert Counter(one.topic for one in records)[lane.outputs["dead_letter"]] == 1, "the incumbent buries it"
    assert read(lane.bootstrap, [f"{lane.prefix}.control"]) != [], "facts are told to workers"
    assert all(
        one.key and one.key.startswith(b"candidate ")
        for one in read(lane.bootstrap, [f"{lane.prefix}.control"])
    )

    summary = json.loads(comparator.stdout.read_text())
    assert summary["conclusion"]["ruling"] == "certified"
    assert summary["tally"]["outcomes"]["agree"] == summary["tally"]["contents"] >= 50
    head = shadow_lane.experiment.ledger("anna").read().head
    assert head is not None
    assert (head.state, head.by, head.report) == (S.CERTIFIED, "comparator", report_digest(summary))
    scraped = shadow.get("/metrics")[1]
    assert "sluicegate_shadow_share 0.5" in scraped
    assert "sluicegate_verdicts_total" not in scraped, "no sum over workers has them"
    assert shadow.metric("sluicegate_shadow_verdicts_total") == len(shadowed)


def test_a_milder_candidate_is_rejected_and_people_are_asked_about_what_differs(
    lane: Lane, kafka: ApacheKafka
) -> None:
    shadow_lane = ShadowLane(lane, kafka, MILD, share=1.0)
    for worker in (shadow_lane.start_live(), shadow_lane.start_shadow()):
        worker.wait_ready()
    shadow_lane.experiment.bring_to(S.SHADOW, share=1.0)
    comparator = shadow_lane.start_comparator("--until-ruled")
    lane.send(posts(0, 200, bad_every=3))
    assert comparator.wait(60) == 1, comparator.output
    summary = json.loads(comparator.stdout.read_text())
    assert summary["conclusion"]["ruling"] == "rejected"
    assert "milder on more than" in summary["conclusion"]["reasons"][0]
    head = shadow_lane.experiment.ledger("anna").read().head
    assert head is not None
    assert head.state is S.REJECTED
    told = [
        read_record(orjson.dumps(one.body))
        for one in read(lane.bootstrap, [shadow_lane.topics["comparisons"]])
    ]
    asked = [one for one in told if isinstance(one, ComparedPost)]
    differing = [one for one in asked if one.differs]
    assert differing
    assert all((one.incumbent, one.candidate, one.probability) == ("block", "allow", 1) for one in differing)
    # Chance asks about a few on which both agree, too, and the record says how likely that was.
    assert all(one.probability < 1 for one in asked if not one.differs)


def test_a_killed_comparator_goes_on_and_counts_nothing_twice(lane: Lane, kafka: ApacheKafka) -> None:
    shadow_lane = ShadowLane(lane, kafka, EQUAL, share=1.0)
    for worker in (shadow_lane.start_live(), shadow_lane.start_shadow()):
        worker.wait_ready()
    shadow_lane.experiment.bring_to(S.SHADOW, share=1.0)
    for number in range(3):
        comparator = shadow_lane.start_comparator()
        lane.send(posts(100 * number, 100))
        until("some are counted", lambda n=number: shadow_lane.contents() > 100 * n, within_s=40)  # type: ignore[misc]
        comparator.kill()
    last = shadow_lane.start_comparator()
    # The one before it may have counted all: this one has to be up before it is asked to stop.
    until("the last one compares", lambda: '"event":"comparing"' in last.output, within_s=40)
    until("all are counted", lambda: shadow_lane.contents() >= 300, within_s=40)
    last.terminate()
    assert last.wait(20) == 0
    tally = shadow_lane.state()["summary"]["tally"]
    assert tally["outcomes"]["agree"] == tally["contents"] == 300


def test_the_live_path_goes_on_while_the_shadow_is_killed_and_its_posts_are_judged_after_a_restart(
    lane: Lane, kafka: ApacheKafka
) -> None:
    shadow_lane = ShadowLane(lane, kafka, EQUAL, share=1.0)
    live, shadow = shadow_lane.start_live(), shadow_lane.start_shadow()
    for worker in (live, shadow):
        worker.wait_ready()
    lane.send(posts(0, 50))
    until("the shadow judges", lambda: len(shadow_lane.shadowed()) >= 50, within_s=30)
    shadow.kill()
    sent = lane.send(posts(50, 100))
    lane.wait_answers(150, within_s=30)
    lane.wait_acknowledged(within_s=20)
    assert len(sent) == 100
    assert len({one.body["post_id"] for one in shadow_lane.shadowed()}) == 50
    shadow_lane.start_shadow().wait_ready()
    until(
        "the shadow goes on where it was",
        lambda: len({one.body["post_id"] for one in shadow_lane.shadowed()}) == 150,
        within_s=30,
    )
