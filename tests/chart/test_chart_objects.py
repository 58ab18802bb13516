"""Every object of every way of installing, as real Helm renders it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from chart.custom_resources import SCHEMAS
from chart.kubernetes_schemas import fault
from chart.rendering import (
    CHART,
    NAMES,
    WAYS,
    containers,
    deployment,
    helm,
    newest,
    pods,
    render,
    rendered,
    worker,
)
from sluicegate.pipeline.kafka.topics import group_rights, plan_topics
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from chart.rendering import Document, Way

pytestmark = pytest.mark.helm

GROUP = "moderation.guard-sluicegate"
RELEASE = load_settings(kafka={"group": GROUP}, topics={"control": f"{GROUP}.control"})
"""As the release of these tests has them."""
NEEDED = ("-f", str(CHART / "ci" / "cpu-values.yaml"))


def _refusal(document: Document, version: str) -> str | None:
    schema = SCHEMAS.get(document["kind"])
    if schema is None:
        return fault(document, version)
    errors = sorted(
        Draft202012Validator(schema).iter_errors(document), key=lambda error: -len(error.absolute_path)
    )
    return f"{document['kind']}: {errors[0].json_path}: {errors[0].message}" if errors else None


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_object_is_one_that_the_api_servers_schema_takes(way: Way) -> None:
    objects = rendered(way).objects
    assert [said for one in objects if (said := _refusal(one, way.kubernetes))] == []
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))


def test_the_schemas_refuse_what_an_api_server_would_drop() -> None:
    deployment = render(*NEEDED).of("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["restartpolicy"] = "Always"
    assert "restartpolicy" in str(fault(deployment, "1.37.0"))


@pytest.mark.parametrize("name", NAMES)
def test_lint_has_nothing_to_say(name: str) -> None:
    done = helm(
        "lint",
        "--strict",
        str(CHART),
        "-f",
        str(CHART / "ci" / f"{name}-values.yaml"),
        "--kube-version",
        "1.37.0",
    )
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_pod_meets_pod_security_restricted(name: str) -> None:
    for pod in pods(newest(name)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        allowed = {"name", "configMap", "secret", "emptyDir", "persistentVolumeClaim", "image"}
        assert all(volume.keys() <= allowed for volume in spec["volumes"])
        for one in containers(pod):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not re.search(r":latest$|[^@/]*/[^:@]*$", one["image"]), one["image"]


@pytest.mark.parametrize("name", NAMES)
def test_every_mount_has_its_volume_and_every_volume_a_mount(name: str) -> None:
    for pod in pods(newest(name)):
        mounted = {mount["name"] for one in containers(pod) for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


@pytest.mark.parametrize("name", NAMES)
def test_every_configmap_that_a_pod_mounts_is_rendered_or_the_users(name: str) -> None:
    answer = newest(name)
    made = {one["metadata"]["name"] for one in answer.all("ConfigMap")} | {
        "moderation-policies",
        "candidate-keys",
    }
    volumes = [volume for pod in pods(answer) for volume in pod["spec"]["volumes"]]
    assert {volume["configMap"]["name"] for volume in volumes if "configMap" in volume} <= made


def test_selectors_hold_nothing_that_an_upgrade_changes() -> None:
    more = ["--set", "commonLabels.team=trust,podLabels.tier=a,image.tag=9.9.9,profile=cpu"]
    for answer in (render(*NEEDED), render(*NEEDED, *more)):
        selectors = [
            deployment(answer)["spec"]["selector"]["matchLabels"],
            answer.of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        ]
        for selector in selectors:
            assert selector == {
                "app.kubernetes.io/name": "sluicegate",
                "app.kubernetes.io/instance": "guard",
                "app.kubernetes.io/component": "worker",
            }
    labels = deployment(answer)["spec"]["template"]["metadata"]["labels"]
    assert labels | selector == labels
    assert (labels["team"], labels["tier"]) == ("trust", "a")


@pytest.mark.parametrize("labels", ["podLabels", "commonLabels"])
def test_labels_of_the_users_cannot_break_the_selector(labels: str) -> None:
    for label in ("app\\.kubernetes\\.io/component", "app\\.kubernetes\\.io/name", "helm\\.sh/chart"):
        answer = render(*NEEDED, "--set", f"{labels}.{label}=mine")
        assert answer.code != 0
        assert labels in answer.said


def _texts(node: Any) -> list[Any]:
    """Every value that names something."""
    if isinstance(node, list):
        return [found for one in node for found in _texts(one)]
    if not isinstance(node, dict):
        return []
    here = [node[word] for word in ("name", "key", "secretName", "claimName", "topicName") if word in node]
    here += [one for word in ("labels", "matchLabels") for one in node.get(word, {}).values()]
    return here + [found for one in node.values() for found in _texts(one)]


def test_names_that_look_like_numbers_stay_names() -> None:
    digits = [
        "kafka.security.sasl.existingSecret=1",
        "kafka.security.sasl.passwordKey=2",
        "kafka.security.ca.existingSecret=3",
        "kafka.security.ca.key=4",
        "topics.strimzi.cluster=5",
        "topics.strimzi.user.name=6",
        "serviceAccount.name=7",
        "settings.topics.posts=8",
        "settings.kafka.group=9",
        "priorityClassName=10",
        "commonLabels.team=11",
    ]
    sets = [word for one in digits for word in ("--set-string", one)]
    answer = render("-f", str(CHART / "ci" / "gpu-values.yaml"), *sets, release="2026")
    assert answer.code == 0, answer.said
    assert {"1", "2", "3", "4", "5", "6", "8", "9", "11", "2026"} <= set(_texts(answer.objects))
    assert all(isinstance(one, str) for one in _texts(answer.objects))
    pod = deployment(answer)["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("7", "10")


def test_no_name_is_longer_than_a_host_name() -> None:
    for name in NAMES:
        answer = render("-f", str(CHART / "ci" / f"{name}-values.yaml"), release="r" * 53)
        names = [one["metadata"]["name"] for one in answer.objects]
        assert max(map(len, names)) <= 63
        assert len({(one["kind"], one["metadata"]["name"]) for one in answer.objects}) == len(names)
        assert len(deployment(answer)["metadata"]["name"]) <= 63 - len("-0123456789-abcde")


def test_a_rollout_needs_a_worker_more_only_where_that_takes_no_gpu() -> None:
    scarce, plenty = {"maxSurge": 0, "maxUnavailable": 1}, {"maxSurge": 1, "maxUnavailable": 0}
    for name in NAMES:
        strategy = deployment(newest(name))["spec"]["strategy"]
        has_gpu = name in ("gpu", "oci", "vllm", "sglang", "trtllm-serve")
        assert strategy["rollingUpdate"] == (scarce if has_gpu or name == "demo" else plenty)


def test_a_rollout_goes_as_the_values_say() -> None:
    shaped = ("--set", "strategy.type=Recreate,minReadySeconds=30,progressDeadlineSeconds=900")
    spec = render(*NEEDED, *shaped).of("Deployment")["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (30, 900)
    assert "minReadySeconds" not in render(*NEEDED).of("Deployment")["spec"]


def test_a_worker_runs_only_on_the_kind_of_node_that_its_engine_is_for() -> None:
    spec = newest("gpu").of("Deployment")["spec"]["template"]["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchExpressions"][0]["values"] == ["NVIDIA-H100-80GB-HBM3"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]


def test_probes_ask_the_ops_port() -> None:
    one = worker(newest("vllm"))
    assert one["ports"] == [{"name": "ops", "containerPort": 8080}]
    asked = {name: one[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {"ops"}
    assert [get["path"] for get in asked.values()] == ["/livez", "/livez", "/readyz"]
    assert one["startupProbe"]["periodSeconds"] * one["startupProbe"]["failureThreshold"] == 900


def test_the_test_pods_may_have_a_login_of_their_own() -> None:
    for pod in newest("gpu").all("Pod"):
        (container,) = pod["spec"]["containers"]
        names = {one["name"]: one.get("value") for one in container["env"]}
        assert names["SLUICEGATE_KAFKA__SECURITY__USERNAME"] == "sluicegate-test"
        secrets = {one["secret"]["secretName"] for one in pod["spec"]["volumes"] if "secret" in one}
        assert secrets == {"sluicegate-test", "events-cluster-ca-cert"}
    assert {one["value"] for one in worker(newest("gpu"))["env"] if "USERNAME" in one["name"]} == {
        "sluicegate"
    }


@pytest.mark.parametrize(("owner", "suffix"), [("tests", "-round-trip"), ("topics", "-topics")])
def test_a_login_with_its_name_in_its_secret_is_not_the_workers(owner: str, suffix: str) -> None:
    values = {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.security.sasl.username": "worker",
        "kafka.security.sasl.existingSecret": "worker",
        f"{owner}.security.sasl.existingSecret": "own",
        f"{owner}.security.sasl.usernameKey": "name",
    }
    answer = render(*NEEDED, "--set", ",".join(f"{key}={value}" for key, value in values.items()))
    assert answer.code == 0, answer.said
    one = answer.of("Pod", suffix) if owner == "tests" else answer.of("Job", suffix)["spec"]["template"]
    (name,) = [v for v in one["spec"]["containers"][0]["env"] if v["name"].endswith("USERNAME")]
    assert name.get("valueFrom") == {"secretKeyRef": {"name": "own", "key": "name"}}
    (own,) = [v for v in worker(answer)["env"] if v["name"].endswith("USERNAME")]
    assert own["value"] == "worker"


def _topics(answer: Any) -> dict[str, tuple[int, int, dict[str, str]]]:
    return {
        one["spec"]["topicName"]: (
            one["spec"]["partitions"],
            one["spec"]["replicas"],
            {name: str(value) for name, value in one["spec"]["config"].items()},
        )
        for one in answer.all("KafkaTopic")
    }


def test_strimzi_makes_the_topics_that_sluicegate_plans() -> None:
    planned = plan_topics(RELEASE, partitions=12, replication=3)
    assert _topics(newest("gpu")) == {
        one.name: (one.partitions, one.replication, one.config) for one in planned
    }


def test_strimzis_user_has_the_rights_that_sluicegate_plans_and_no_others() -> None:
    acls = newest("gpu").of("KafkaUser")["spec"]["authorization"]["acls"]
    granted = {one["resource"]["name"]: tuple(one["operations"]) for one in acls}
    planned = {one.name: one.worker for one in plan_topics(RELEASE, partitions=1, replication=1)}
    assert granted == planned | {RELEASE.kafka.group: ("Read",)}
    assert f"Read on group {RELEASE.kafka.group};" in group_rights(RELEASE.kafka)["worker"]
    secret = newest("gpu").of("KafkaUser")["metadata"]["name"]
    volumes = newest("gpu").of("Deployment")["spec"]["template"]["spec"]["volumes"]
    assert secret in {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}


def test_a_topic_survives_its_release() -> None:
    for one in newest("gpu").all("KafkaTopic"):
        assert one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_users_objects_are_rendered() -> None:
    assert newest("external").of("ConfigMap", "-notes")["metadata"]["name"] == "guard-sluicegate-notes"


def test_secrets_are_only_named() -> None:
    for name in NAMES:
        assert newest(name).all("Secret") == []
        for pod in pods(newest(name)):
            for one in containers(pod):
                secret = [
                    v["name"] for v in one.get("env", ()) if re.search("PASSWORD|API_KEY|URL", v["name"])
                ]
                assert all("valueFrom" in v for v in one.get("env", ()) if v["name"] in secret)
