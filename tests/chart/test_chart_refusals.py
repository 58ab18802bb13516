"""Values that cannot work are refused before anything is installed, with a sentence that names the fix."""

from __future__ import annotations

import pytest

from chart.rendering import APIS, CHART, OLDEST, render

pytestmark = pytest.mark.helm

CI = CHART / "ci"
DIGEST = "sha256:" + "2" * 64

MISTAKES = [
    ("cpu", ["kafka.bootstrapServers="], "set it to your brokers"),
    ("cpu", ["kafka.security.ca.existingSecret=ca"], "set kafka.security.protocol=SSL"),
    ("cpu", ["kafka.security.protocol=SASL_SSL"], "set kafka.security.sasl.existingSecret"),
    ("gpu", ["kafka.security.sasl.username="], "set username to it, or usernameKey"),
    ("gpu", ["kafka.security.sasl.usernameKey=user"], "once; set username to it, or usernameKey"),
    ("gpu", ["kafka.security.protocol=SSL"], "set kafka.security.protocol=SASL_SSL"),
    ("gpu", ["engine.uri="], "set it, for example engine.uri=pvc://models/guard"),
    ("gpu", ["engine.digest="], "`sluicegate engine info BUNDLE`"),
    ("external", ["engine.url="], "for example engine.url=http://"),
    ("gpu", ["engine.url=http://guard:8000"], "set profile=external"),
    ("external", ["engine.sha256="], "`sha256sum`"),
    ("gpu", ["engine.sha256=" + "3" * 64], "engine.digest pins the bundle"),
    ("s3", ["engine.s3.image="], "set it to an image with the AWS command line"),
    ("oci", ["engine.uri=oci://registry.example/guard:1"], "end it with the image's digest"),
    ("gpu", ["policy.existingConfigMap=mine"], "empty one of them"),
    ("gpu", ["policy.file=policy.yaml"], "set it to one of: forum.yaml, stricter.yaml"),
    ("gpu", ["topics.strimzi.cluster="], "set it to the name of your Kafka object"),
    ("oci", ["autoscaling.postsPerSecond=null"], "as you measured it"),
    ("oci", ["autoscaling.minReplicas=9"], "set autoscaling.maxReplicas=9"),
    ("oci", ["autoscaling.maxReplicas=13"], "set autoscaling.maxReplicas=12"),
]


@pytest.mark.parametrize(("name", "changes", "fix"), MISTAKES, ids=[f"{m[0]}-{m[1][0]}" for m in MISTAKES])
def test_a_mistake_is_refused_with_its_fix(name: str, changes: list[str], fix: str) -> None:
    sets = [word for change in changes for word in ("--set", change)]
    answer = render("-f", str(CI / f"{name}-values.yaml"), *sets)
    assert answer.code != 0
    assert fix in answer.said


@pytest.mark.parametrize(
    ("name", "change", "fix"),
    [
        ("gpu", "autoscaling.enabled=true", "set autoscaling.enabled=false"),
        ("gpu", "podMonitor.enabled=true", "set podMonitor.enabled=false"),
        ("gpu", "prometheusRule.enabled=true", "set prometheusRule.enabled=false"),
        ("gpu", "topics.mode=strimzi", "set topics.mode=job"),
    ],
)
def test_what_a_cluster_does_not_serve_is_refused(name: str, change: str, fix: str) -> None:
    off = "autoscaling.enabled=false,podMonitor.enabled=false,prometheusRule.enabled=false,topics.mode=none"
    answer = render("-f", str(CI / f"{name}-values.yaml"), "--set", off, "--set", change, apis=())
    assert answer.code != 0
    assert fix in answer.said


def test_an_image_volume_is_refused_where_it_would_be_dropped_silently() -> None:
    answer = render("-f", str(CI / "oci-values.yaml"), kubernetes="1.34.0")
    assert "from 1.35, and this cluster is v1.34.0" in answer.said


def test_a_cluster_without_native_sidecars_is_refused() -> None:
    answer = render("-f", str(CI / "cpu-values.yaml"), kubernetes="1.28.0")
    assert answer.code != 0
    assert ">=1.29.0" in answer.said
    assert render("-f", str(CI / "cpu-values.yaml"), kubernetes=OLDEST, apis=APIS).code == 0


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("profile=demo", "profile"),
        ("replicaCount=3", "replicaCount"),
        ("kafka.bootstrapServer=a:1", "bootstrapServer"),
        ("kafka.bootstrapServers=kafka", "bootstrapServers"),
        ("kafka.security.protocol=TLS", "protocol"),
        ("kafka.security.sasl.password=secret", "password"),
        ("image.tag=latest", "tag"),
        ("engine.digest=abc", "digest"),
        ("engine.uri=hf://guard", "uri"),
        ("settings.window.post=3", "post"),
        ("settings.window.posts=0", "posts"),
        ("settings.micro_batches.tokens=3", "micro_batches"),
        ("settings.kafka.bootstrap_servers=a:1", "bootstrap_servers"),
        ("settings.engine.api_key=secret", "api_key"),
        ("settings.cache.redis_url=redis://x", "redis_url"),
        ("settings.policy.path=/x", "policy"),
        ("settings.drain.budget_s=null", "budget_s"),
        ("settings.topics.posts=null", "posts"),
        ("settings.kafka=null", "kafka"),
        ("settings.drain.budget_s=soon", "budget_s"),
        ("fullnameOverride=Guard_1", "fullnameOverride"),
        ("tests.security.protocol=SSL", "protocol"),
        ("autoscaling.minReplicas=0", "minReplicas"),
        ("policy.files.a=", "files"),
    ],
)
def test_the_schema_refuses_unknown_keys_wrong_values_and_credentials(change: str, place: str) -> None:
    answer = render("-f", str(CI / "cpu-values.yaml"), "--set", change)
    assert answer.code != 0
    assert place in answer.said
