"""The review desk in the chart: what it is told is what it takes, what it may reach, and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from chart.custom_resources import SCHEMAS
from chart.rendering import CHART, Answer, Document, deployment, newest, render, template
from sluicegate.pipeline.kafka.topics import plan_desk_topics, plan_topics
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.web.app import make_app
from sluicegate.pipeline.settings.tree import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

VALUES = ("-f", str(CHART / "ci" / "review-values.yaml"))
SECRETS = {
    "SLUICEGATE_REVIEW__STORE": "postgresql://desk:hush@db:5432/review",
    "SLUICEGATE_REVIEW__KEY": "k" * 44,
    "SLUICEGATE_REVIEW__OIDC_CLIENT_SECRET": "hush",
}
"""What the Secrets hold, by the variables that they become."""
INTERNAL = {"/livez", "/readyz", "/metrics"}
"""For probes and scrapes: they ask for no login."""


def _pod(answer: Answer) -> Document:
    pod = deployment(answer, "review")["spec"]["template"]
    assert isinstance(pod, dict)
    return pod


def _container(answer: Answer) -> Document:
    (found,) = _pod(answer)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def _settings(answer: Answer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings as the desk's container would have them."""
    for variable in _container(answer)["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", SECRETS.get(variable["name"], "")))
    file = folder / "settings.yaml"
    file.write_text(answer.of("ConfigMap", "sluicegate-review")["data"]["settings.yaml"], encoding="utf-8")
    monkeypatch.setenv("SLUICEGATE_SETTINGS", str(file))
    return load_settings(file)


def test_a_desk_takes_what_the_chart_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(newest("review"), tmp_path, monkeypatch)
    review = settings.review
    assert (review.host, review.port) == ("0.0.0.0", 8787)
    assert [port["containerPort"] for port in _container(newest("review"))["ports"]] == [review.port]
    assert review.public_url == "https://review.example"
    assert (review.oidc_issuer, review.oidc_client_id, review.oidc_tenant_claim, review.sla_s) == (
        "https://login.example:8443/realms/forum",
        "review-desk",
        "forums",
        28_800,
    )
    secrets = review.store, review.key, review.oidc_client_secret
    assert [one and one.get_secret_value() for one in secrets] == list(SECRETS.values())
    assert settings.kafka.bootstrap_servers == "kafka.streams:9093"
    assert settings.kafka.security.username == "desk"
    assert (settings.topics.posts, settings.topics.feedback) == ("posts", "feedback")


def test_its_files_are_mounted_and_its_login_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    security = _settings(newest("review"), tmp_path, monkeypatch).kafka.security
    mounts = {one["mountPath"] for one in _container(newest("review"))["volumeMounts"]}
    assert {str(one.parent) for one in (security.ca_file, security.password_file) if one} <= mounts
    held = {
        one["secret"]["secretName"] for one in _pod(newest("review"))["spec"]["volumes"] if "secret" in one
    }
    assert held == {"desk", "events-cluster-ca-cert"}


def test_secrets_are_only_named_and_stand_in_no_file_and_no_argument() -> None:
    answer = newest("review")
    for one in (_container(answer), _migrate(answer)):
        variables = {v["name"]: v for v in one["env"] if v["name"].startswith("SLUICEGATE_REVIEW__")}
        assert variables
        assert all(set(v) == {"name", "valueFrom"} for v in variables.values())
        assert not one.get("args")
    assert _container(answer)["command"] == ["sluicegate", "review", "serve"]
    for file in answer.all("ConfigMap"):
        tree = yaml.safe_load(file["data"].get("settings.yaml", "{}"))
        assert not {"store", "key", "oidc_client_secret"} & tree.get("review", {}).keys()


def _migrate(answer: Answer) -> Document:
    (found,) = answer.of("Job", "-migrate")["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_workers_know_nothing_of_the_desk_and_a_change_of_it_restarts_none() -> None:
    settings = yaml.safe_load(newest("review").of("ConfigMap", "-settings")["data"]["settings.yaml"])
    assert "review" not in settings
    changed = render(*VALUES, "--set", "settings.review.sla_s=60,review.host=desk.example")
    assert deployment(changed) == deployment(newest("review"))
    assert deployment(changed, "review") != deployment(newest("review"), "review")
    named = render(*VALUES, "--set", "settings.topics.feedback=forum.feedback")
    assert "feedback: forum.feedback" in named.of("ConfigMap", "sluicegate-review")["data"]["settings.yaml"]
    engine = render(*VALUES, "--set", "settings.engine.concurrency=2")
    assert deployment(engine, "review") == deployment(newest("review"), "review")


def test_nothing_of_it_is_there_unless_it_is_enabled() -> None:
    for name in ("cpu", "gpu"):
        rendered = newest(name)
        labels = [one["metadata"].get("labels", {}) for one in rendered.objects]
        assert {one.get("app.kubernetes.io/component") for one in labels}.isdisjoint(
            {"review", "review-migrate"}
        )
        assert rendered.all("Service") == rendered.all("Ingress") == []
        assert "matchExpressions" not in rendered.of("NetworkPolicy", "sluicegate")["spec"]["podSelector"]


def test_there_is_one_desk_and_never_a_second_beside_it() -> None:
    spec = deployment(newest("review"), "review")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    budgets = newest("review").all("PodDisruptionBudget")
    components = [one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for one in budgets]
    assert components == ["worker"]


def test_probes_ask_what_the_desk_answers() -> None:
    one = _container(newest("review"))
    asked = {name: one[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {"pages"}
    assert [get["path"] for get in asked.values()] == ["/livez", "/livez", "/readyz"]


def _routes(folder: Path) -> set[str]:
    """Where the desk answers, with a parameter as ``x``."""
    review = {"store": f"sqlite:///{folder / 'review.db'}", "key": "k" * 32}
    desk = ReviewDesk(load_settings(review=review))
    paths = {re.sub(r"\{[^}]*\}", "x", one.path) for one in make_app(desk, demo=True).routes}  # type: ignore[attr-defined]
    desk.store.close()
    return paths


def test_every_page_is_led_to_and_metrics_and_health_are_not(tmp_path: Path) -> None:
    """A page that fails here wants its path in `sluicegate.deskPaths` of templates/_review.tpl."""
    ingress = newest("review").of("Ingress")["spec"]
    (rule,) = ingress["rules"]
    paths = rule["http"]["paths"]
    backend = {"service": {"name": "guard-sluicegate-review", "port": {"name": "pages"}}}
    assert [one for one in paths if one["backend"] != backend] == []
    exact = {one["path"] for one in paths if one["pathType"] == "Exact"}
    prefixes = {one["path"] for one in paths if one["pathType"] == "Prefix"}
    routes = _routes(tmp_path)
    led = {one for one in routes if one in exact or any(f"{one}/".startswith(f"{p}/") for p in prefixes)}
    assert routes - led == INTERNAL
    assert {one for one in prefixes if not any(f"{r}/".startswith(f"{one}/") for r in routes)} == set()


def test_the_way_in_is_encrypted_and_leads_to_the_desks_pod() -> None:
    answer = newest("review")
    ingress = answer.of("Ingress")
    assert ingress["spec"]["tls"] == [{"hosts": ["review.example"], "secretName": "review-example-tls"}]
    assert [one["host"] for one in ingress["spec"]["rules"]] == ["review.example"]
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letters"}
    service = answer.of("Service")["spec"]
    assert service["selector"].items() <= _pod(answer)["metadata"]["labels"].items()
    assert (
        not service["selector"].items()
        <= deployment(answer)["spec"]["template"]["metadata"]["labels"].items()
    )
    plain = render(*VALUES, "--set", "review.ingress.tlsSecret=,review.ingress.className=")
    assert plain.of("Ingress")["spec"]["tls"] == [{"hosts": ["review.example"]}]
    assert "ingressClassName" not in plain.of("Ingress")["spec"]
    assert render(*VALUES, "--set", "review.ingress.enabled=false").all("Ingress") == []


def _ports(policy: Document) -> set[int]:
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_it_reaches_brokers_store_and_issuer_and_is_reached_by_those_that_are_named() -> None:
    answer = newest("review")
    policy = answer.of("NetworkPolicy", "sluicegate-review")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= _pod(answer)["metadata"]["labels"].items()
    assert _ports(policy) == {53, 9093, 5432, 8443}
    (store,) = [one for one in policy["spec"]["egress"] if one["ports"][0]["port"] == 5432]
    assert store["to"] == [{"podSelector": {"matchLabels": {"cnpg.io/cluster": "review"}}}]
    (way_in,) = policy["spec"]["ingress"]
    assert [port["port"] for port in way_in["ports"]] == [8787]
    names = [one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for one in way_in["from"]]
    assert names == ["ingress-nginx", "monitoring"]
    changed = "review.database.port=6432,settings.review.oidc_issuer=https://login.example"
    assert _ports(render(*VALUES, "--set", changed).of("NetworkPolicy", "sluicegate-review")) == {
        53,
        9093,
        6432,
        443,
    }


def test_the_workers_policy_lets_the_desk_nowhere() -> None:
    (expression,) = newest("review").of("NetworkPolicy", "-sluicegate")["spec"]["podSelector"][
        "matchExpressions"
    ]
    assert (expression["key"], expression["operator"]) == ("app.kubernetes.io/component", "NotIn")
    pods = [_pod(newest("review")), newest("review").of("Job", "-migrate")["spec"]["template"]]
    assert {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in pods} == {
        *expression["values"]
    }


def test_the_store_is_migrated_before_the_desk_that_runs_is_taken_away() -> None:
    answer = newest("review")
    job = answer.of("Job", "-migrate")
    hook, weight = "helm.sh/hook", "helm.sh/hook-weight"
    assert job["metadata"]["annotations"][hook] == "pre-install,pre-upgrade"
    account = answer.of("ServiceAccount", "-migrate")["metadata"]
    policy = answer.of("NetworkPolicy", "-migrate")
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]
    for one in (account, policy["metadata"]):
        assert one["annotations"][hook] == job["metadata"]["annotations"][hook]
        assert int(one["annotations"][weight]) < int(job["metadata"]["annotations"][weight])
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert _ports(policy) == {53, 5432}
    assert {one["name"] for one in _migrate(answer)["env"]} == {"HOME", "SLUICEGATE_REVIEW__STORE"}
    own = render(
        *VALUES, "--set", "serviceAccount.create=false,serviceAccount.name=ours,networkPolicy.enabled=false"
    )
    assert own.of("Job", "-migrate")["spec"]["template"]["spec"]["serviceAccountName"] == "ours"
    assert own.all("ServiceAccount") == own.all("NetworkPolicy") == []


def test_the_topics_job_makes_its_topics_where_there_is_a_desk() -> None:
    def arguments(answer: Answer) -> list[str]:
        (found,) = answer.of("Job", "-topics")["spec"]["template"]["spec"]["containers"]
        return list(found["args"])

    assert "--review" in arguments(newest("review"))
    assert "--config=feedback.retention.ms=2592000000" in arguments(newest("review"))
    assert "--review" not in arguments(newest("cpu"))


def _of_strimzi() -> Answer:
    sets = {
        "review.enabled": "true",
        "review.host": "review.example",
        "review.database.existingSecret": "db",
        "review.vault.existingSecret": "vault",
        "settings.review.oidc_issuer": "https://login.example",
        "settings.review.oidc_client_id": "desk",
        "settings.topics.resolutions": "forum.resolutions",
    }
    words = ",".join(f"{key}={value}" for key, value in sets.items())
    answer = render("-f", str(CHART / "ci" / "gpu-values.yaml"), "--set", words)
    assert answer.code == 0, answer.said
    return answer


def test_strimzi_makes_its_topics_and_a_user_with_the_rights_that_are_planned() -> None:
    answer, shape = _of_strimzi(), {"partitions": 12, "replication": 3}
    group = "moderation.guard-sluicegate"
    settings = load_settings(
        kafka={"group": group}, topics={"control": f"{group}.control", "resolutions": "forum.resolutions"}
    )
    planned = [*plan_topics(settings, **shape), *plan_desk_topics(settings, **shape)]
    made = {
        one["spec"]["topicName"]: (
            one["spec"]["partitions"],
            {name: str(value) for name, value in one["spec"]["config"].items()},
        )
        for one in answer.all("KafkaTopic")
    }
    assert made == {one.name: (one.partitions, one.config) for one in planned}
    user = answer.of("KafkaUser", "-review")
    granted = {
        one["resource"]["name"]: tuple(one["operations"]) for one in user["spec"]["authorization"]["acls"]
    }
    assert granted == {one.name: one.desk for one in planned if one.desk}
    assert SCHEMAS["KafkaUser"]["properties"]["apiVersion"]["const"] == user["apiVersion"]


def test_series_of_the_desk_are_a_job_of_their_own() -> None:
    monitor = newest("review").of("PodMonitor", "-review")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= _pod(newest("review"))["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("pages", "/metrics")
    workers = newest("review").of("PodMonitor", "-sluicegate")["spec"]["selector"]["matchLabels"]
    assert not workers.items() <= _pod(newest("review"))["metadata"]["labels"].items()


def test_names_that_look_like_numbers_stay_names() -> None:
    digits = [
        "review.database.existingSecret=1",
        "review.database.key=2",
        "review.vault.existingSecret=3",
        "review.vault.key=4",
        "review.oidc.existingSecret=5",
        "review.oidc.key=6",
        "review.host=7",
        "review.ingress.tlsSecret=8",
        "review.ingress.className=9",
    ]
    answer = render(*VALUES, *[word for one in digits for word in ("--set-string", one)], release="2026")
    assert answer.code == 0, answer.said
    named = [v["valueFrom"]["secretKeyRef"] for v in _container(answer)["env"] if "valueFrom" in v]
    assert [(one["name"], one["key"]) for one in named] == [("1", "2"), ("3", "4"), ("5", "6")]
    spec = answer.of("Ingress")["spec"]
    assert (spec["rules"][0]["host"], spec["tls"][0]["secretName"], spec["ingressClassName"]) == (
        "7",
        "8",
        "9",
    )


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ("review.host=", "set it to a name that leads to your ingress controller, for example review.host="),
        ("review.database.existingSecret=", "set it to a Secret of yours, and review.database.key"),
        ("review.vault.existingSecret=", "`openssl rand -base64 32`"),
        ("settings.review.oidc_issuer=", "oidc_issuer"),
        ("settings.review.oidc_issuer=null", "for example settings.review.oidc_issuer=https://login.example"),
        ("settings.review.oidc_client_id=null", "settings.review.oidc_client_id=review-desk"),
        ("settings.review=null", "'/settings/review': got null, want object"),
        (
            "settings.review.store=sqlite:///review.db",
            "in a Secret that review.database.existingSecret names",
        ),
        ("settings.review.key=hush", "in a Secret that review.vault.existingSecret names"),
        ("settings.review.oidc_client_secret=hush", "in a Secret that review.oidc.existingSecret names"),
        ("settings.review.public_url=https://a.example", "given by review.host"),
        ("settings.review.slas=3", "slas"),
        ("extraEnv[0].name=SLUICEGATE_REVIEW__STORE", "take it out, and set review.database.existingSecret"),
        ("extraEnv[0].name=SLUICEGATE_REVIEW__KEY", "take it out, and set review.vault.existingSecret"),
        ("review.replicas=2", "left out: it is 1"),
        ("review.database.password=hush", "in a Secret that review.database.existingSecret names"),
        ("review.host=https://review.example", "/review/host"),
        ("review.enabled=false", "set review.enabled=true, or take settings.review out"),
        (
            "review.security.sasl.existingSecret=",
            "set review.security.sasl.existingSecret to the Secret with its own",
        ),
        ("settings.topics.resolutions=posts", "give every topic a name of its own"),
    ],
)
def test_what_cannot_work_is_refused_with_its_fix(change: str, fix: str) -> None:
    done = template(*VALUES, "--set", change)
    assert done.returncode != 0
    assert fix in " ".join(done.stderr.split())
    assert "hush" not in done.stderr.replace(change, "")


def test_configuration_of_its_topics_without_it_is_refused() -> None:
    change = "topics.config.feedback.retention\\.ms=1"
    done = template("-f", str(CHART / "ci" / "cpu-values.yaml"), "--set-string", change)
    assert "topics.config.feedback has no effect with review.enabled=false" in done.stderr


def test_a_demo_has_no_desk() -> None:
    done = template("-f", str(CHART / "ci" / "demo-values.yaml"), "--set", "review.enabled=true")
    assert "try `sluicegate demo --review` on your machine" in done.stderr
