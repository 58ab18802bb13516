"""Manual soak."""
import time
import pytest
from support.collector import account
from support.kafka import ApacheKafka
from support.workers import until, open_lane
pytestmark = pytest.mark.kafka

def test_broker_kill_under_load(tmp_path):
    with ApacheKafka() as kafka, open_lane(kafka, tmp_path, partitions=3) as lane:
        lane.set_fake(call_overhead_s=0.2)
        w = [lane.start(), lane.start()]
        for x in w: x.wait_ready()
        sent = lane.send({"id": f"post-{n}", "text": f"post number {n}"} for n in range(3000))
        lane.wait_answers(500, within_s=30)
        kafka.kill(); time.sleep(3)
        print([x.get("/readyz") for x in w], [x.get("/livez") for x in w])
        kafka.restart()
        t=time.monotonic()
        lane.wait_acknowledged(within_s=90)
        print("recovered after", time.monotonic()-t, [x.running for x in w])
        f = account(sent, lane.read()); print(f.repeats_same_id, f.repeats_other_id, len(f.lost))
        assert not f.lost and not f.repeats_other_id

def test_join_during_hold(lane):
    a = lane.start(); a.wait_ready()
    lane.set_faults(die=True)
    sent = lane.send({"id": f"post-{n}", "text": f"post number {n}"} for n in range(300))
    until("held", lambda: a.metric("sluicegate_window_posts") == 300, within_s=20)
    b = lane.start(); b.wait_ready()
    until("shares", lambda: b.metric("sluicegate_partitions_assigned") > 0, within_s=40)
    print(a.metric("sluicegate_window_posts"), b.metric("sluicegate_window_posts"))
    time.sleep(2)
    print(a.metric("sluicegate_window_posts"), b.metric("sluicegate_window_posts"))
    lane.set_faults()
    lane.wait_acknowledged(within_s=60)
    f = account(sent, lane.read()); print(f)
    assert not f.lost and f.repeats_same_id == 0

def test_poison_that_kills(lane):
    a = lane.start(); a.wait_ready()
    lane.set_faults(die={"marker": "poison"})
    sent = lane.send({"id": f"post-{n}", "text": "poison" if n == 5 else f"post number {n}"} for n in range(20))
    time.sleep(8)
    print("answers", lane.answers(), a.get("/readyz"))

def test_two_kills(lane):
    lane.set_fake(call_overhead_s=0.15)
    w=[lane.start(), lane.start(), lane.start()]
    for x in w: x.wait_ready()
    until("three", lambda: all(x.metric("sluicegate_partitions_assigned")==1 for x in w), within_s=30)
    sent = lane.send({"id": f"post-{n}", "text": f"post number {n}"} for n in range(8000))
    lane.wait_answers(1000, within_s=30); w[0].kill()
    lane.wait_answers(3000, within_s=60); w[1].kill()
    lane.wait_acknowledged(within_s=120)
    f = account(sent, lane.read()); print(f.repeats_same_id, f.repeats_other_id, len(f.lost))
    assert not f.lost and not f.repeats_other_id and not f.two_actions
