"""The cycle in the chart: a CronJob for each plan, which sees its own folder, reads one topic and touches no worker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import yaml

from chart.rendering import CHART, Answer, Document, render
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

VALUES = ("-f", str(CHART / "ci" / "cycle-values.yaml"))
NONE = ("--set", "adapt.cycle.plans=null")


def _pod(job: Document) -> Document:
    found = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


def _jobs(answer: Answer) -> dict[str, Document]:
    assert answer.code == 0, answer.said
    return {one["metadata"]["name"].rpartition("-")[2]: one for one in answer.all("CronJob")}


def test_each_plan_sees_its_own_folder_of_the_claim_alone() -> None:
    jobs = _jobs(render(*VALUES))
    assert jobs.keys() == {"weekly", "bank"}
    for plan, job in jobs.items():
        (container,) = _pod(job)["containers"]
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "cycle"]
        assert mount == {"name": "cycle", "mountPath": "/cycle", "subPath": plan}
        assert container["command"] == [
            "sluicegate",
            "adapt",
            "cycle",
            "/cycle/cycle.yaml",
            "--ledger",
            "/cycle/ledger",
        ]
        assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_it_runs_on_nodes_of_its_own_and_under_an_account_without_a_token() -> None:
    answer = render(*VALUES)
    for job in _jobs(answer).values():
        pod = _pod(job)
        assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
        assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu"]
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert pod["automountServiceAccountToken"] is False
        account = answer.of("ServiceAccount", pod["serviceAccountName"])
        assert account["metadata"]["name"] == "guard-sluicegate-cycle"
        assert account["automountServiceAccountToken"] is False


def test_it_reaches_brokers_alone_and_nobody_reaches_it() -> None:
    answer = render(*VALUES)
    policy = answer.of("NetworkPolicy", "-cycle")["spec"]
    assert "ingress" not in policy
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "cycle"
    (workers,) = [one for one in answer.all("NetworkPolicy") if one["metadata"]["name"] == "guard-sluicegate"]
    (apart,) = workers["spec"]["podSelector"]["matchExpressions"]
    assert (apart["operator"], apart["values"]) == ("NotIn", ["cycle"])


def test_its_login_reads_decisions_and_nothing_else() -> None:
    answer = render(
        *VALUES,
        *("--set", "topics.mode=strimzi", "--set", "topics.strimzi.cluster=streams"),
        *("--set", "topics.strimzi.user.create=true", "--set", "settings.topics.feedback=decided"),
    )
    assert answer.code == 0, answer.said
    (acl,) = answer.of("KafkaUser", "-cycle")["spec"]["authorization"]["acls"]
    assert acl["resource"] == {"type": "topic", "name": "decided", "patternType": "literal"}
    assert acl["operations"] == ["Describe", "Read"]


def test_its_settings_are_the_workers_with_the_topic_of_decisions(tmp_path: Path) -> None:
    answer = render(*VALUES)
    read = {}
    for name in ("sluicegate-settings", "sluicegate-cycle"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(answer.of("ConfigMap", name)["data"]["settings.yaml"], encoding="utf-8")
        read[name] = load_settings(file)
    live, cycle = read.values()
    assert cycle.topics.feedback == "feedback"
    assert cycle.engine == live.engine
    assert cycle.kafka == live.kafka


def test_a_run_ends_in_time_for_the_next_one_and_only_what_a_person_has_to_mend_ends_it_at_once() -> None:
    for job in _jobs(render(*VALUES)).values():
        spec = job["spec"]["jobTemplate"]["spec"]
        assert spec["activeDeadlineSeconds"] == 2 * 86_400
        (rule,) = spec["podFailurePolicy"]["rules"]
        assert rule == {
            "action": "FailJob",
            "onExitCodes": {"containerName": "cycle", "operator": "In", "values": [1, 2]},
        }
        assert os.EX_TEMPFAIL not in rule["onExitCodes"]["values"]
    answer = render(*VALUES, "--set", "adapt.cycle.activeDeadlineSeconds=7200")
    assert _jobs(answer)["weekly"]["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 7200


def test_decisions_are_kept_for_longer_than_a_weekly_run_may_fail() -> None:
    answer = render(
        *("-f", str(CHART / "ci" / "review-values.yaml")),
        *("--set", "topics.mode=strimzi", "--set", "topics.strimzi.cluster=streams"),
    )
    assert answer.code == 0, answer.said
    topics = {one["spec"]["topicName"]: one["spec"]["config"] for one in answer.all("KafkaTopic")}
    assert int(topics["feedback"]["retention.ms"]) >= 30 * 86_400_000


def test_nothing_that_acts_changes_with_it() -> None:
    with_it, without = render(*VALUES), render(*VALUES, *NONE)
    for kind in ("Deployment", "PodDisruptionBudget", "Job"):
        assert with_it.all(kind) == without.all(kind)
    assert _jobs(without) == {}
    assert "cycle" not in yaml.safe_dump([one["metadata"] for one in without.objects])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("adapt.cycle.image=", "set adapt.cycle.image=registry.example"),
        ("adapt.cycle.existingClaim=", "set adapt.cycle.existingClaim=cycle"),
        ("adapt.cycle.image=mine:latest", "mine:latest is another image tomorrow"),
        ("adapt.cycle.plans={UP}", "adapt.cycle.plans"),
    ],
)
def test_what_is_missing_is_said_with_the_values_to_set(given: str, said: str) -> None:
    answer = render(*VALUES, "--set", given)
    assert answer.code != 0
    assert said in answer.said.replace("/", ".")
