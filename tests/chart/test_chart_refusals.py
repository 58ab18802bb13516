"""Values that cannot work are refused before anything is installed, with a sentence that names the fix.

``mistakes/`` has a values file for each common one; its first line holds what Helm has to say of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chart.rendering import APIS, CHART, OLDEST, Answer, render
from sluicegate.pipeline.settings.tree import Settings

pytestmark = pytest.mark.helm

CI = CHART / "ci"
MISTAKES = sorted((Path(__file__).parent / "mistakes").glob("*.yaml"))

# What a values file that works becomes by one change.
CHANGES = [
    ("gpu", "kafka.security.sasl.username=", "set username to it, or usernameKey"),
    ("gpu", "kafka.security.sasl.usernameKey=user", "once; set username to it, or usernameKey"),
    ("gpu", "kafka.security.protocol=SSL", "set kafka.security.protocol=SASL_SSL"),
    ("cpu", "tests.security.sasl.username=a", "tests.security.sasl has no effect"),
    ("external", "engine.digest=", "`sluicegate engine info BUNDLE`"),
    ("s3", "engine.s3.image=", "set it to an image with the AWS command line"),
    ("s3", "engine.s3.image=registry.example/aws-cli:2", "end it with the image's digest"),
    (
        "external",
        "engine.uri=https://models.example/guard.tar?signature=a",
        "set engine.uri to a plain address",
    ),
    ("cpu", "enabled=false", "`condition: sluicegate.enabled`"),
    ("gpu", "podMonitor.enabled=false", "set podMonitor.enabled=true"),
    ("gpu", "podMonitor.interval=90s", "set podMonitor.interval=1m"),
    ("gpu", "policy.existingConfigMap=mine", "empty one of them"),
    ("oci", "autoscaling.minReplicas=9", "set autoscaling.maxReplicas=9"),
    ("gpu", "autoscaling.fallback.replicas=13", "set it to 12 at most"),
    ("hpa", "autoscaling.prometheusAddress=http://p:9090", "set autoscaling.kind=keda"),
    ("gpu", "engine.extraArgs={--max-num-seqs=8}", "give it as extraArgs to the worker, or set profile=gpu"),
    ("gpu", "engine.resources.limits.memory=1Gi", "give it as resources to the worker"),
    ("external", "engine.extraEnv[0].name=A", "with profile external, which has no server beside the worker"),
    ("gpu", "engine.metrics.enabled=true", "set engine.metrics.enabled=false"),
    ("gpu", "engine.gpu.count=2", "set engine.gpu.count=1, and more workers by replicas"),
    ("sglang", "engine.gpu.count=2", "whose template says how many; set engine.gpu.count=1"),
    ("vllm", "engine.metrics.port=8000", "8000 is the server's; set engine.metrics.port=8001"),
    ("vllm", "engine.metrics.port=8080", "8080 is the worker's; set engine.metrics.port=8001"),
    ("vllm", "engine.extraArgs={--host,0.0.0.0}", "take it out, or set profile=external"),
    ("vllm", "engine.extraArgs={--served-model-name=guard}", "engine.extraArgs holds --served-model-name,"),
    ("vllm", "engine.extraArgs={--enable-log-requests}", "writes the texts of posts where logs are read"),
    ("sglang", "engine.extraArgs={--log-requests}", "take it out"),
    ("sglang", "engine.image.tag=latest", "set engine.image.tag to a release"),
    ("trtllm-serve", "engine.image.tag=guarded", "to begin with one, as in 1.2.1"),
    ("demo", "kafka.security.protocol=SSL", "set profile=cpu, or take kafka out"),
    ("demo", "autoscaling.enabled=true", "take replicas and autoscaling out"),
]


def _refused(answer: Answer, fix: str) -> None:
    assert answer.code != 0
    assert fix in " ".join(answer.said.split())


def test_there_are_mistakes() -> None:
    assert len(MISTAKES) >= 12


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_a_common_mistake_is_refused_with_its_fix(path: Path) -> None:
    head = path.read_text(encoding="utf-8").partition("\n")[0]
    assert head.startswith("# Refused: ")
    _refused(render("-f", str(path)), head.removeprefix("# Refused: "))


@pytest.mark.parametrize(("name", "change", "fix"), CHANGES, ids=[f"{m[0]}-{m[1]}" for m in CHANGES])
def test_a_change_that_breaks_values_is_refused_with_its_fix(name: str, change: str, fix: str) -> None:
    _refused(render("-f", str(CI / f"{name}-values.yaml"), "--set", change), fix)


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
    values = str(CI / f"{name}-values.yaml")
    assert render("-f", values, "--set", off, apis=()).code == 0
    _refused(render("-f", values, "--set", off, "--set", change, apis=()), fix)


def test_a_strimzi_of_before_is_named_with_its_version() -> None:
    values = ("-f", str(CI / "gpu-values.yaml"))
    older = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1", "kafka.strimzi.io/v1beta2")
    fix = "topics.strimzi.apiVersion=kafka.strimzi.io/v1beta2"
    _refused(render(*values, apis=older), f"set {fix}")
    assert render(*values, "--set", fix, apis=older).code == 0


def test_what_a_login_in_an_address_is_refused_with_does_not_show_it() -> None:
    change = "engine.uri=https://me:hush@models.example/guard.tar"
    answer = render("-f", str(CI / "external-values.yaml"), "--set", change)
    _refused(answer, "set engine.uri to a plain address")
    assert "hush" not in answer.said


def test_series_of_ones_own_scraping_need_no_pod_monitor() -> None:
    own = ("--set", "podMonitor.enabled=false", "--set-string", 'prometheusRule.selector=job="guard"')
    answer = render("-f", str(CI / "gpu-values.yaml"), *own)
    assert answer.code == 0, answer.said
    queries = [t["metadata"].get("query", "") for t in answer.of("ScaledObject")["spec"]["triggers"]]
    assert sum('{job="guard"}' in query for query in queries) == 2


def test_a_resource_claim_is_refused_where_it_would_be_dropped_silently() -> None:
    answer = render("-f", str(CI / "sglang-values.yaml"), kubernetes="1.33.0")
    assert "from 1.34, and this cluster is v1.33.0; set engine.gpu.resource" in answer.said


def test_an_image_volume_is_refused_where_it_would_be_dropped_silently() -> None:
    answer = render("-f", str(CI / "oci-values.yaml"), kubernetes="1.34.0")
    assert "from 1.35, and this cluster is v1.34.0" in answer.said


def test_a_cluster_without_native_sidecars_is_refused() -> None:
    answer = render("-f", str(CI / "cpu-values.yaml"), kubernetes="1.28.0")
    assert answer.code != 0
    assert ">=1.29.0" in answer.said
    assert render("-f", str(CI / "cpu-values.yaml"), kubernetes=OLDEST, apis=APIS).code == 0


def test_the_rules_for_a_drain_know_the_workers_defaults() -> None:
    rules = (CHART / "templates" / "_validation.tpl").read_text(encoding="utf-8")
    settings = Settings()
    for name in ("finish_s", "flush_s", "leave_s"):
        assert f'dig "{name}" {getattr(settings.drain, name):g} $drain' in rules
    assert f'dig "rebalance_timeout_s" {settings.kafka.rebalance_timeout_s:g} ' in rules


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("kafka.bootstrapservers=a:1", "bootstrapservers"),
        ("kafka.security.protocol=TLS", "protocol"),
        ("kafka.security.sasl.passwort=secret", "passwort"),
        ("settings.window.post=3", "post"),
        ("settings.window.posts=0", "posts"),
        ("settings.micro_batches.tokens=3", "micro_batches"),
        ("settings.engine.api_key=secret", "in a Secret that engine.apiKey.existingSecret names"),
        ("settings.policy.path=/x", "given by policy.file"),
        ("settings.drain.budget_s=null", "budget_s"),
        ("settings.topics.posts=null", "posts"),
        ("settings.kafka=null", "kafka"),
        ("settings.drain.budget_s=soon", "budget_s"),
        ("fullnameOverride=Guard_1", "fullnameOverride"),
        ("tests.security.protocol=SSL", "protocol"),
        ("tests.security.sasl.password=secret", "names"),
        ("topics.security.ca.key=a", "ca"),
        ("replicas=-1", "replicas"),
        ("autoscaling.kind=vpa", "kind"),
        ("engine.kind=triton", "kind"),
        ("engine.server=vllm", "given as engine.kind"),
        ("engine.args={--a}", "given as engine.extraArgs"),
        ("settings.engine.dialect=vllm", "given as engine.dialect, or by engine.kind"),
        ("autoscaling.pollingInterval=30", "left out: KEDA heeds it only where there may be no worker"),
        ("policy.files.a=", "files"),
    ],
)
def test_the_schema_refuses_unknown_keys_wrong_values_and_credentials(change: str, place: str) -> None:
    answer = render("-f", str(CI / "cpu-values.yaml"), "--set", change)
    assert answer.code != 0
    assert place in answer.said
