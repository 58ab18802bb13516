"""How many workers there are, and who says so."""

from __future__ import annotations

import pytest
import yaml

from chart.rendering import CHART, NAMES, deployment, newest, render, worker

pytestmark = pytest.mark.helm

CI = CHART / "ci"


def test_the_number_of_workers_is_said_once() -> None:
    for name in NAMES:
        answer = newest(name)
        scalers = answer.all("ScaledObject") + answer.all("HorizontalPodAutoscaler")
        given = yaml.safe_load((CI / f"{name}-values.yaml").read_text(encoding="utf-8"))
        spec = deployment(answer)["spec"]
        assert len(scalers) == (1 if given.get("autoscaling", {}).get("enabled") else 0)
        assert spec.get("replicas") == (None if scalers else given.get("replicas"))
        assert "replicas" not in spec or spec["replicas"] is not None


def test_no_workers_at_all_can_be_said() -> None:
    answer = render("-f", str(CI / "cpu-values.yaml"), "--set", "replicas=0")
    assert answer.of("Deployment")["spec"]["replicas"] == 0


def test_keda_asks_kafka_for_the_lag_and_prometheus_for_the_age_and_the_posts_taken() -> None:
    scaled = newest("gpu").of("ScaledObject")["spec"]
    kafka, prometheus, taken = (trigger["metadata"] for trigger in scaled["triggers"])
    assert taken["threshold"] == "29.75"  # 42.5 posts/s × 0.7
    assert 'job="moderation/guard-sluicegate"' in taken["query"]
    assert [trigger.get("metricType") for trigger in scaled["triggers"]] == [
        "AverageValue",
        "Value",
        "AverageValue",
    ]
    assert kafka["lagThreshold"] == "1275"  # 42.5 posts/s × 30 s
    assert (kafka["tls"], kafka["sasl"]) == ("enable", "scram_sha512")
    assert (kafka["topic"], kafka["consumerGroup"]) == ("posts", "moderation.guard-sluicegate")
    assert 'job="moderation/guard-sluicegate"' in prometheus["query"]


def test_a_lag_that_nobody_can_tell_takes_no_worker_away() -> None:
    fallback = newest("gpu").of("ScaledObject")["spec"]["fallback"]
    assert fallback == {"failureThreshold": 3, "replicas": 4, "behavior": "currentReplicasIfHigher"}
    assert "fallback" not in newest("oci").of("ScaledObject")["spec"]


def test_keda_logs_in_as_the_workers_do() -> None:
    scram = newest("gpu").of("TriggerAuthentication")["spec"]
    assert {one["parameter"]: one["name"] for one in scram["secretTargetRef"]} == {
        "password": "sluicegate",
        "ca": "events-cluster-ca-cert",
    }
    (name,) = scram["env"]
    assert name["name"] in {one["name"] for one in worker(newest("gpu"))["env"]}
    mutual = newest("oci").of("TriggerAuthentication")["spec"]
    assert {one["parameter"]: one["key"] for one in mutual["secretTargetRef"]} == {
        "ca": "ca.crt",
        "cert": "user.crt",
        "key": "user.key",
    }


def test_a_plain_hpa_has_the_same_target_as_keda() -> None:
    spec = newest("hpa").of("HorizontalPodAutoscaler")["spec"]
    (metric,) = spec["metrics"]
    assert metric["external"]["target"] == {
        "type": "AverageValue",
        "averageValue": "1200",
    }  # 40 posts/s × 30 s
    assert metric["external"]["metric"] == {
        "name": "kafka_consumergroup_lag",
        "selector": {"matchLabels": {"consumergroup": "moderation.guard-sluicegate", "topic": "posts"}},
    }
    assert spec["scaleTargetRef"]["name"] == newest("hpa").of("Deployment")["metadata"]["name"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 24)


@pytest.mark.parametrize("name", ["gpu", "hpa"])
def test_workers_come_at_once_and_leave_by_halves_after_a_while(name: str) -> None:
    answer = newest(name)
    behavior = (
        answer.of("HorizontalPodAutoscaler")["spec"]["behavior"]
        if name == "hpa"
        else answer.of("ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    )
    down = behavior["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 600
    assert [(one["type"], one["value"]) for one in down["policies"]] == [("Percent", 50)]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
