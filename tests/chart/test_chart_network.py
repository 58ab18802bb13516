"""Where pods of the chart may go."""

from __future__ import annotations

import pytest

from chart.rendering import CHART, newest, render

pytestmark = pytest.mark.helm


def test_the_network_policy_lets_out_what_is_needed_and_no_more() -> None:
    def ports(name: str) -> set[int]:
        policy = newest(name).of("NetworkPolicy", "sluicegate")["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        return {port["port"] for rule in policy["egress"] for port in rule["ports"]}

    assert ports("cpu") == {53, 9092, 443}  # the CPU model is fetched
    assert ports("gpu") == {53, 9093}
    assert ports("external") == {53, 9096, 9097, 443, 8000, 6379}
    assert ports("s3") == {53, 9092, 443}
    assert ports("demo") == {53, 443}  # its brokers are in the pod


@pytest.mark.parametrize(
    ("name", "change", "port"),
    [
        ("s3", "engine.s3.endpointUrl=http://minio.storage:9000", 9000),
        ("external", "engine.uri=https://models.example:8443/guard.tar", 8443),
        ("external", "engine.url=http://guard-engine.models", 80),
        ("external", "settings.engine.adapters.teens.url=http://teens.models:8001", 8001),
        ("external", "settings.tracing.endpoint=http://collector.traces:4318/v1/traces", 4318),
    ],
)
def test_the_network_policy_knows_the_ports_of_stores_engines_and_collectors(
    name: str, change: str, port: int
) -> None:
    answer = render("-f", str(CHART / "ci" / f"{name}-values.yaml"), "--set", change)
    rules = answer.of("NetworkPolicy")["spec"]["egress"]
    assert port in {one["port"] for rule in rules for one in rule["ports"]}


def test_the_topics_job_reaches_brokers_before_the_workers_policy_is_there() -> None:
    policy = newest("cpu").of("NetworkPolicy", "-topics")
    assert policy["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    job = newest("cpu").of("Job")["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= job.items()
    worker_labels = newest("cpu").of("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not policy["spec"]["podSelector"]["matchLabels"].items() <= worker_labels.items()
    assert {one["port"] for rule in policy["spec"]["egress"] for one in rule["ports"]} == {53, 9092}
    assert newest("oci").of("NetworkPolicy", "-topics")["spec"]["egress"][1]["ports"][0]["port"] == 9094
