"""What a platform team gives to every pod: variables, files, names, places, labels, accounts, a mirror of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chart.kubernetes_schemas import fault
from chart.rendering import CHART, NEWEST, Answer, Document, containers, pods, render, worker
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

OURS = {"worker", "topics", "round-trip", "dead-letter"}
"""Containers that talk to Kafka."""
GIVEN: dict[str, Any] = {
    "x-note": "an anchor of the values file's own",
    "enabled": True,
    "global": {"imageRegistry": "mirror.example", "imagePullSecrets": [{"name": "mirror"}], "other": 1},
    "imagePullSecrets": [{"name": "own"}],
    "podLabels": {"team": "trust"},
    "podAnnotations": {"sidecar.istio.io/inject": "false"},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}},
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.53"]},
    "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["broker"]}],
    "schedulerName": "volcano",
    "nodeSelector": {"pool": "gpu"},
    "priorityClassName": "workers",
    "sidePods": {
        "nodeSelector": {"pool": "small"},
        "tolerations": [{"key": "small", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "side",
    },
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "extraArgs": ["--stop-on-eof"],
    "extraVolumes": [{"name": "authority", "configMap": {"name": "authority"}}],
    "extraVolumeMounts": [{"name": "authority", "mountPath": "/etc/authority", "readOnly": True}],
    "extraContainers": [{"name": "shipper", "image": "shipper:1"}],
    "extraInitContainers": [{"name": "first", "image": "first:1"}],
}


def _render(folder: Path, name: str, **more: Any) -> Answer:
    file = folder / "given.yaml"
    file.write_text(yaml.safe_dump(GIVEN | more), encoding="utf-8")
    answer = render("-f", str(CHART / "ci" / f"{name}-values.yaml"), "-f", str(file))
    assert answer.code == 0, answer.said
    return answer


@pytest.fixture(scope="module")
def oci(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """Workers with a sidecar, a topics Job and tests."""
    return _render(tmp_path_factory.mktemp("oci"), "oci")


def _beside(answer: Answer) -> list[Document]:
    found = [one["spec"]["template"] for one in answer.all("Job")] + answer.all("Pod")
    assert len(found) == 3
    return found


@pytest.mark.parametrize("name", ["cpu", "demo", "external", "gpu", "hpa", "s3"])
def test_every_object_is_valid_with_all_of_it(name: str, tmp_path: Path) -> None:
    for one in _render(tmp_path, name).objects:
        if "." not in one["apiVersion"].partition("/")[0] or one["apiVersion"].startswith(
            "networking.k8s.io"
        ):
            assert fault(one, NEWEST) is None


def test_all_pods_have_the_labels_annotations_names_and_secrets(oci: Answer) -> None:
    for pod in pods(oci):
        assert pod["metadata"]["labels"]["team"] == "trust"
        assert pod["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
        spec = pod["spec"]
        for key in ("dnsPolicy", "dnsConfig", "hostAliases", "schedulerName"):
            assert spec[key] == GIVEN[key]
        assert spec["imagePullSecrets"] == [{"name": "own"}, {"name": "mirror"}]


def test_workers_and_the_pods_beside_them_have_places_of_their_own(oci: Answer) -> None:
    spec = oci.of("Deployment")["spec"]["template"]["spec"]
    assert (spec["nodeSelector"], spec["priorityClassName"]) == ({"pool": "gpu"}, "workers")
    assert "runtimeClassName" not in spec
    for pod in _beside(oci):
        given = GIVEN["sidePods"]
        assert {key: pod["spec"][key] for key in given} == given
        assert "runtimeClassName" not in pod["spec"]


def test_containers_of_the_client_have_the_variables_and_files(oci: Answer) -> None:
    found = [one for pod in pods(oci) for one in containers(pod) if one["name"] in OURS]
    assert {one["name"] for one in found} == OURS
    for one in found:
        assert GIVEN["extraEnv"][0] in one["env"]
        assert one["envFrom"] == GIVEN["extraEnvFrom"]
        assert GIVEN["extraVolumeMounts"][0] in one["volumeMounts"]
    for pod in pods(oci):
        assert GIVEN["extraVolumes"][0] in pod["spec"]["volumes"]


def test_a_bundle_is_fetched_with_the_variables_and_files(tmp_path: Path) -> None:
    (fetch,) = [one for one in containers(_pod(tmp_path)) if one["name"] == "fetch-bundle"]
    assert GIVEN["extraEnv"][0] in fetch["env"]
    assert fetch["envFrom"] == GIVEN["extraEnvFrom"]
    assert GIVEN["extraVolumeMounts"][0] in fetch["volumeMounts"]


def _pod(folder: Path) -> Document:
    found: Document = _render(folder, "external").of("Deployment")["spec"]["template"]
    return found


def test_the_workers_pods_have_the_arguments_and_containers(oci: Answer, tmp_path: Path) -> None:
    spec = oci.of("Deployment")["spec"]["template"]["spec"]
    assert spec["initContainers"][0] == GIVEN["extraInitContainers"][0]
    own, shipper = spec["containers"]
    assert shipper == GIVEN["extraContainers"][0]
    assert [*own["command"], *own["args"]] == ["sluicegate", "worker", "--stop-on-eof"]
    demo, _ = _render(tmp_path, "demo").of("Deployment")["spec"]["template"]["spec"]["containers"]
    assert demo["command"][2].endswith('exec sluicegate worker "$@"')
    assert demo["args"] == ["--stop-on-eof"]


def test_every_pod_has_an_account_that_is_there_before_it(oci: Answer, tmp_path: Path) -> None:
    accounts = {one["metadata"]["name"]: one["metadata"] for one in oci.all("ServiceAccount")}
    role = GIVEN["serviceAccount"]["annotations"]
    assert all(one["annotations"] | role == one["annotations"] for one in accounts.values())
    hooked = accounts["guard-sluicegate-topics"]["annotations"]
    job = oci.of("Job")
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "guard-sluicegate-topics"
    assert hooked["helm.sh/hook"] == job["metadata"]["annotations"]["helm.sh/hook"]
    weight = "helm.sh/hook-weight"
    assert int(hooked[weight]) < int(job["metadata"]["annotations"][weight])
    for pod in [oci.of("Deployment")["spec"]["template"], *oci.all("Pod")]:
        assert pod["spec"]["serviceAccountName"] == "guard-sluicegate"
    own = _render(tmp_path, "oci", serviceAccount={"create": False, "name": "ours"})
    assert own.all("ServiceAccount") == []
    assert {pod["spec"]["serviceAccountName"] for pod in pods(own)} == {"ours"}


@pytest.mark.parametrize(
    ("name", "images"),
    [
        (
            "gpu",
            {
                "mirror.example/moderation/sluicegate@sha256:" + "1" * 64,
                "mirror.example/moderation/sluicegate-gpu@sha256:" + "6" * 64,
            },
        ),
        ("oci", {"mirror.example/sluicegate:0.1.0", "mirror.example/sluicegate-gpu:0.1.0"}),
        ("vllm", {"mirror.example/sluicegate:0.1.0", "mirror.example/vllm/vllm-openai:v0.32.0"}),
        ("sglang", {"mirror.example/sluicegate:0.1.0", "mirror.example/lmsysorg/sglang:v0.5.23"}),
        (
            "trtllm-serve",
            {"mirror.example/sluicegate:0.1.0", "mirror.example/nvidia/tensorrt-llm/release:1.2.1"},
        ),
        ("s3", {"mirror.example/sluicegate:0.1.0", "mirror.example/aws-cli@sha256:" + "5" * 64}),
        ("cpu", {"mirror.example/sluicegate:0.1.0"}),
    ],
)
def test_every_image_of_ours_comes_from_the_mirror(name: str, images: set[str], tmp_path: Path) -> None:
    found = {one["image"] for pod in pods(_render(tmp_path, name)) for one in containers(pod)}
    assert found - {"shipper:1", "first:1"} == images


def _topics(answer: Answer) -> dict[str, dict[str, str]]:
    return {one["spec"]["topicName"]: one["spec"]["config"] for one in answer.all("KafkaTopic")}


CONFIG = {
    "posts": {"retention.ms": "86400000", "max.message.bytes": "2097152"},
    "control": {"segment.ms": "1"},
}


def test_topics_are_made_as_the_values_configure_them(tmp_path: Path) -> None:
    strimzi = _topics(_render(tmp_path, "gpu", topics={"config": CONFIG}))
    plan = {"cleanup.policy": "delete", "min.insync.replicas": "2", "compression.type": "uncompressed"}
    assert strimzi["posts"] == plan | CONFIG["posts"]
    assert strimzi["moderation.guard-sluicegate.control"]["segment.ms"] == "1"
    assert strimzi["verdicts.allow"]["retention.ms"] == "604800000"
    (container,) = _render(tmp_path, "oci", topics={"config": CONFIG}).of("Job")["spec"]["template"]["spec"][
        "containers"
    ]
    assert {one for one in container["args"] if one.startswith("--config")} == {
        "--config=posts.retention.ms=86400000",
        "--config=posts.max.message.bytes=2097152",
        "--config=control.segment.ms=1",
    }


def test_topics_and_user_may_be_in_the_namespace_of_strimzi(tmp_path: Path) -> None:
    answer = _render(tmp_path, "gpu", topics={"strimzi": {"namespace": "streams", "user": {"name": ""}}})
    for one in [*answer.all("KafkaTopic"), answer.of("KafkaUser")]:
        assert one["metadata"]["namespace"] == "streams"
        assert one["metadata"]["name"].startswith("moderation.guard-sluicegate"), (
            "of this namespace's release"
        )


def test_series_may_be_relabelled(tmp_path: Path) -> None:
    rules = [{"action": "drop", "sourceLabels": ["__name__"], "regex": "sluicegate_verdict_languages_total"}]
    given = {"scrapeTimeout": "10s", "relabelings": rules, "metricRelabelings": rules}
    (scraped,) = _render(tmp_path, "gpu", podMonitor=given).of("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert scraped | given == scraped


def test_what_is_given_reaches_the_workers_settings(
    oci: Answer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A variable of the platform's is no setting, and disturbs none."""
    own = oci.of("Deployment")["spec"]["template"]["spec"]["containers"][0]
    for variable in own["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "from a Secret"))
    file = tmp_path / "settings.yaml"
    file.write_text(oci.of("ConfigMap", "-settings")["data"]["settings.yaml"], encoding="utf-8")
    assert load_settings(file).kafka.group == "moderation.guard-sluicegate"


def test_nothing_of_it_is_there_unless_it_is_given() -> None:
    answer = render("-f", str(CHART / "ci" / "cpu-values.yaml"))
    assert not {"args", "envFrom"} & worker(answer).keys()
    for pod in pods(answer):
        assert (
            not {"dnsPolicy", "dnsConfig", "hostAliases", "schedulerName", "imagePullSecrets"}
            & pod["spec"].keys()
        )
