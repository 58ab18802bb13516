"""A policy that changes while posts flow: each verdict is one version's from end to end, and none is lost."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Self

import pytest

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Severity, Verdict
from support.collector import account
from support.workers import until

if TYPE_CHECKING:
    from support.collector import Sent
    from support.workers import Lane

pytestmark = pytest.mark.kafka


def document(version: str, block: float, review: float, category: float) -> str:
    """A policy whose every value differs from that of the other version."""
    return f"""
name: reloaded
version: "{version}"
rules:
  block_at: {{unsafe: {block}}}
  review_at: {{unsafe: {review}, risk: null}}
  dispositions: {{allow: allow_{version}, review: review_{version}, block: {{name: block_{version}, of: "{version}"}}}}
  explain_at: {review}
  categories:
    PII:
      block_at: {{unsafe: {category}}}
      dispositions: {{block: pii_{version}}}
"""


def for_engine(document: str, digest: str) -> str:
    """The same, for one engine."""
    return f"{document}engines: [{digest}]\n"


ONE, TWO = document("1", 0.9, 0.8, 0.05), document("2", 0.3, 0.1, 0.2)
BROKEN = ONE.replace("unsafe: 0.9", "unsafe: nine")


class Load:
    """Posts without a pause, from a thread, until told to stop."""

    def __init__(self, lane: Lane) -> None:
        self.sent: list[Sent] = []
        self._lane = lane
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            # Every third text comes again later: answers from the cache change hands, too.
            numbers = range(number, number + 60)
            self.sent += self._lane.send(
                {"id": f"post-{one}", "text": f"text {one % 3000 if one % 3 == 0 else one}"}
                for one in numbers
            )
            number += 60
            self._stop.wait(0.05)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()


def test_under_load_every_verdict_is_decided_by_one_version_and_none_is_lost(lane: Lane) -> None:
    lane.set_fake(step_s=0.002, call_overhead_s=0.005)
    setting = lane.set_policy(ONE)
    workers = [lane.start(setting) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()

    def reloads(count: int) -> None:
        until(
            f"{count} reloads by each worker",
            lambda: all(worker.metric("sluicegate_policy_reloads_total") >= count for worker in workers),
            within_s=30,
        )

    def alarm(value: int) -> None:
        until(
            f"alarm {value}",
            lambda: all(worker.metric("sluicegate_policy_reload_failed") == value for worker in workers),
            within_s=30,
        )

    with Load(lane) as load:
        lane.wait_answers(200, within_s=60)
        lane.set_policy(TWO)
        reloads(1)
        before = lane.answers()
        lane.set_policy(BROKEN)
        alarm(1)
        lane.wait_answers(before + 100, within_s=60)  # the stream goes on by the second version
        lane.set_policy(ONE)
        reloads(2)
        alarm(0)
        lane.wait_answers(lane.answers() + 100, within_s=60)
    lane.wait_acknowledged(within_s=90)

    records = lane.read()
    balance = account(load.sent, records)
    assert balance.lost == ()
    assert balance.two_actions == ()
    assert balance.unasked == 0
    assert balance.dead_letters == 0

    policies = {
        policy.digest: policy for policy in (Policy.from_bytes(text.encode(), "p") for text in (ONE, TWO))
    }
    seen: Counter[tuple[str, str]] = Counter()
    for record in records:
        verdict = Verdict.model_validate(record.body, strict=False)
        policy = policies[verdict.policy.digest]  # the old or the new, never another
        assert verdict.scores is not None
        decision = policy.decide(verdict, verdict.scores, verdict)
        assert (verdict.action, verdict.disposition, verdict.disposition_parameters, verdict.policy.rule) == (
            decision.action,
            decision.disposition,
            decision.parameters,
            decision.rule,
        )
        assert verdict.policy.version == policy.version
        assert record.topic == lane.outputs[verdict.action.value]
        seen[policy.version, verdict.action.value] += 1
    assert {version for version, _action in seen} == {"1", "2"}
    assert {action for _version, action in seen} == {"allow", "review", "block"}
    for worker in workers:
        assert (
            worker.output.count('"event": "policy_reload_failed"')
            + worker.output.count('"event":"policy_reload_failed"')
            == 1
        )
        assert "nine" in worker.output  # the sentence names what is wrong


def test_engine_and_thresholds_come_in_one_upgrade_and_go_back_in_one(lane: Lane) -> None:
    """The file changes at once for all, and the workers one by one: neither engine's posts meet the other's thresholds."""
    profiles: dict[str, dict[str, str]] = {}
    engines: dict[str, str] = {}
    finds: dict[str, Severity] = {"old": "safe", "new": "unsafe"}
    for name, severity in finds.items():
        rules = {"text": severity}
        lane.set_fake(rules=rules)
        path = (lane.folder / "fake.json").rename(lane.folder / f"fake-{name}.json")
        profiles[name] = {"engine.fake_profile": str(path)}
        engines[name] = FakeEngine(FakeProfile(rules=rules)).info.digest
    policies = {"old": for_engine(ONE, engines["old"]), "new": for_engine(TWO, engines["new"])}
    setting = lane.set_policy(policies["old"])
    old = lane.start(setting | profiles["old"])
    old.wait_ready()

    # The new engine comes before its thresholds: it stays out of the group, and says why.
    new = lane.start(setting | profiles["new"])
    until("the new worker waits", lambda: new.metric("sluicegate_policy_for_other_engines"), within_s=60)
    status, told = new.get("/readyz")
    assert status == 503
    assert f"the policy is for {engines['old']}, and the engine is {engines['new']};" in told
    assert new.get("/livez")[0] == 200
    sent = lane.send({"id": f"a-{one}", "text": f"text {one}"} for one in range(60))
    lane.wait_acknowledged(within_s=60)
    assert new.metric("sluicegate_partitions_assigned") == 0

    # The new thresholds come: the new worker takes part, and the old one keeps its own.
    lane.set_policy(policies["new"])
    new.wait_ready()
    until(
        "the old one keeps its policy", lambda: old.metric("sluicegate_policy_for_other_engines"), within_s=60
    )
    until("both have partitions", lambda: new.metric("sluicegate_partitions_assigned") > 0, within_s=60)
    assert old.ready()
    sent += lane.send({"id": f"b-{one}", "text": f"text b{one}"} for one in range(120))
    lane.wait_acknowledged(within_s=60)

    # All goes back: now the old one is for the file again, and the new one keeps what it began with.
    lane.set_policy(policies["old"])
    until(
        "the alarm has changed sides", lambda: new.metric("sluicegate_policy_for_other_engines"), within_s=60
    )
    until("the old one's is over", lambda: not old.metric("sluicegate_policy_for_other_engines"), within_s=60)
    sent += lane.send({"id": f"c-{one}", "text": f"text c{one}"} for one in range(120))
    lane.wait_acknowledged(within_s=60)

    records = lane.read()
    assert account(sent, records).lost == ()
    verdicts = [Verdict.model_validate(record.body, strict=False) for record in records]
    assert {(verdict.engine.digest, verdict.policy.version) for verdict in verdicts} == {
        (engines["old"], "1"),
        (engines["new"], "2"),
    }
