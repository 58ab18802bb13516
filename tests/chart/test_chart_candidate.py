"""A candidate in the chart: nothing that acts changes for it, and shadow and comparator are told what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from chart.rendering import CHART, NAMES, Answer, Document, deployment, newest, render
from sluicegate.pipeline.kafka.topics import plan_candidate_topics, plan_topics
from sluicegate.pipeline.settings.tree import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

VALUES = ("-f", str(CHART / "ci" / "candidate-values.yaml"))
COMPONENTS = ("shadow", "compare")
CANARY = ("--set", "engine.candidate.stages={shadow,canary}")
DIGEST = "sha256:" + "2" * 64


def _component(one: Document) -> str:
    last = str(one["metadata"]["name"]).rpartition("-")[2]
    return (
        last
        if last in COMPONENTS
        else str(one["metadata"].get("labels", {}).get("app.kubernetes.io/component"))
    )


def _without_candidate(answer: Answer) -> list[Document]:
    """What is there before and after: no hooks, no alerts, no desk, topics that are new, and nothing of the candidate."""
    return [
        one
        for one in answer.objects
        if "helm.sh/hook" not in one["metadata"].get("annotations", {})
        and _component(one) not in {*COMPONENTS, "review"}
        and one["kind"] not in {"PrometheusRule", "KafkaTopic", "KafkaUser"}
    ]


def _container(answer: Answer, component: str) -> Document:
    (found,) = deployment(answer, component)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def _settings(answer: Answer, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    file = folder / "settings.yaml"
    file.write_text(answer.of("ConfigMap", f"sluicegate-{name}")["data"]["settings.yaml"], encoding="utf-8")
    monkeypatch.setenv("SLUICEGATE_SETTINGS", str(file))
    return load_settings(file)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"demo", "candidate"}))
def test_an_upgrade_with_a_candidate_changes_nothing_that_acts(name: str, tmp_path: Path) -> None:
    ci = CHART / "ci" / f"{name}-values.yaml"
    policy = yaml.safe_load(ci.read_text(encoding="utf-8")).get("policy", {})
    live = policy.get("file", "policy.yaml")
    # The folder of policies gets another file that no worker reads: it is there before, too.
    files = {} if policy.get("existingConfigMap") else {live: "name: live", "tried.yaml": "name: tried"}
    candidate = {
        "experiment": "tried",
        "policyFile": "tried.yaml",
        "keys": {"existingConfigMap": "keys"},
        "key": {"existingSecret": "key"},
    }
    given = ["-f", str(ci)]
    for number, values in enumerate(({"policy": {"files": files}}, {"engine": {"candidate": candidate}})):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        given += ["-f", str(file)]
    before, after = render(*given[:-2]), render(*given)
    assert (before.code, after.code) == (0, 0), before.said + after.said
    assert _without_candidate(after) == _without_candidate(before)
    assert {_component(one) for one in after.all("Deployment")} >= {"worker", *COMPONENTS}


def test_without_its_candidate_the_release_has_none_of_it(tmp_path: Path) -> None:
    values = yaml.safe_load((CHART / "ci" / "candidate-values.yaml").read_text(encoding="utf-8"))
    del values["engine"]["candidate"], values["settings"]
    file = tmp_path / "before.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    before = render("-f", str(file))
    assert before.code == 0, before.said
    assert not {_component(one) for one in before.objects} & {*COMPONENTS}
    assert _without_candidate(before) == _without_candidate(newest("candidate"))
    live = before.of("ConfigMap", "-settings")
    assert "candidate" not in yaml.safe_load(live["data"]["settings.yaml"])


def test_another_share_or_candidate_restarts_no_worker_and_the_shadow_alone() -> None:
    changed = render(*VALUES, "--set-json", "engine.candidate.share=0.5")
    assert deployment(changed) == deployment(newest("candidate"))
    for component in COMPONENTS:
        assert deployment(changed, component) != deployment(newest("candidate"), component)


def test_shadow_and_comparator_take_what_the_chart_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in COMPONENTS:
        settings = _settings(newest("candidate"), name, tmp_path, monkeypatch)
        candidate = settings.candidate
        assert (candidate.experiment, candidate.share, candidate.audit_share) == ("retrained", 0.1, 0.02)
        terms = candidate.terms
        assert (terms.max_permissive, terms.max_shift, terms.min_posts) == (0.005, 0.02, 500)
        assert settings.engine.adapters["candidate"].digest == DIGEST
        assert settings.kafka.group == "moderation.guard-sluicegate"
    assert str(candidate.state_file) == "/var/lib/sluicegate/comparison.json"


def test_what_their_settings_name_is_mounted() -> None:
    for name in COMPONENTS:
        said = yaml.safe_load(
            newest("candidate").of("ConfigMap", f"sluicegate-{name}")["data"]["settings.yaml"]
        )
        mounts = [one["mountPath"] for one in _container(newest("candidate"), name)["volumeMounts"]]
        files = [
            *(
                said["candidate"][key]
                for key in ("policy", "keys", "key", "state_file")
                if key in said["candidate"]
            ),
            said["policy"]["path"],
        ]
        if name == "shadow":
            files += [said["engine"]["bundle"], said["engine"]["adapters"]["candidate"]["bundle"]]
        assert all(any(file.startswith(mount) for mount in mounts) for file in files)


def test_the_comparator_alone_has_a_private_key_and_is_alone() -> None:
    answer = newest("candidate")
    held = {
        component: {
            one["secret"]["secretName"]
            for one in deployment(answer, component)["spec"]["template"]["spec"]["volumes"]
            if "secret" in one
        }
        for component in ("worker", *COMPONENTS)
    }
    assert held == {"worker": set(), "shadow": set(), "compare": {"comparator"}}
    spec = deployment(answer, "compare")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_they_run_their_own_commands_and_nothing_that_is_a_worker_s_selects_them() -> None:
    answer = render(*VALUES, "--set", "extraArgs={--policy,x},replicas=3")
    assert _container(answer, "shadow")["command"] == ["sluicegate", "shadow", "run"]
    assert "args" not in _container(answer, "shadow")
    assert _container(answer, "compare")["command"] == ["sluicegate", "shadow", "compare"]
    assert deployment(answer, "shadow")["spec"]["replicas"] == 1
    (budget,) = answer.all("PodDisruptionBudget")
    selectors = [
        budget["spec"]["selector"]["matchLabels"],
        *(deployment(answer, one)["spec"]["selector"]["matchLabels"] for one in ("worker", *COMPONENTS)),
    ]
    names = [one["app.kubernetes.io/component"] for one in selectors]
    assert names == ["worker", "worker", *COMPONENTS]


def test_from_the_stage_canary_on_workers_know_the_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = render(*VALUES, *CANARY)
    settings = _settings(answer, "settings", tmp_path, monkeypatch)
    assert settings.candidate.experiment == "retrained"
    assert settings.engine.adapters["candidate"].digest == DIGEST
    assert deployment(answer) != deployment(newest("candidate"))
    pod = deployment(answer)["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert {"/candidates/guard", "/etc/sluicegate/candidate/keys"} <= {
        one["mountPath"] for one in worker["volumeMounts"]
    }
    assert not [one for one in pod["volumes"] if "secret" in one]
    for component in COMPONENTS:
        assert deployment(answer, component) == deployment(newest("candidate"), component)


def test_a_bundle_that_is_fetched_is_fetched_beside_the_workers_own() -> None:
    answer = render(
        *VALUES,
        "--set",
        f"engine.candidate.uri=https://models.example:8443/a.tar,engine.candidate.sha256={'a' * 64}",
    )
    assert answer.code == 0, answer.said
    pod = deployment(answer, "shadow")["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    assert fetch["name"] == "fetch-candidate"
    assert fetch["args"] == ["https://models.example:8443/a.tar", "a" * 64, "/candidates/guard"]
    assert {"scripts", "candidate"} <= {one["name"] for one in pod["volumes"]}
    assert "initContainers" not in deployment(answer)["spec"]["template"]["spec"]
    policy = answer.of("NetworkPolicy", "-shadow")["spec"]
    assert policy["egress"] == [{"ports": [{"port": 8443, "protocol": "TCP"}]}]


def test_the_topics_are_those_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = newest("candidate").of("Job", "-topics")["spec"]["template"]["spec"]["containers"]
    assert "--candidate" in job["args"]
    strimzi = ("--set", "topics.mode=strimzi,topics.strimzi.cluster=events,topics.replication=3")
    answer = render(*VALUES, *strimzi, *CANARY)
    assert answer.code == 0, answer.said
    settings = _settings(answer, "shadow", tmp_path, monkeypatch)
    planned = [
        *plan_topics(settings, partitions=3, replication=3),
        *plan_candidate_topics(settings, partitions=3, replication=3),
    ]
    made = {one["spec"]["topicName"]: one["spec"] for one in answer.all("KafkaTopic")}
    assert made.keys() == {one.name for one in planned}
    for one in planned[-3:]:
        assert made[one.name]["partitions"] == one.partitions
        assert made[one.name]["config"]["retention.ms"] == str(one.retention_ms)
    rights = {
        acl["resource"]["name"]: set(acl["operations"])
        for acl in answer.of("KafkaUser", "-candidate")["spec"]["authorization"]["acls"]
        if acl["resource"]["type"] == "topic"
    }
    for one in planned:
        assert rights.get(one.name, set()) >= set(one.shadow)
    acting = {settings.topics.allow, settings.topics.review, settings.topics.block, settings.topics.posts}
    assert not [name for name in acting if "Write" in rights[name]]


REFUSED = [
    ("engine.candidate.policyFile=", "engine.candidate.policyFile is missing"),
    ("engine.candidate.policyFile=policy.yaml", "give the candidate a file of its own"),
    ("engine.candidate.policyFile=other.yaml", "set it to one of: candidate.yaml"),
    ("engine.candidate.keys.existingConfigMap=", "set it to a ConfigMap of yours with public keys"),
    ("engine.candidate.key.existingSecret=", "engine.candidate.key.existingSecret is missing"),
    ("engine.candidate.digest=", "engine.candidate.digest is missing"),
    ("engine.candidate.uri=", "set the place of the bundle, or take it out"),
    ("engine.candidate.uri=ftp://a", "engine.candidate.uri ftp://a is of no known kind; set it to pvc://"),
    ("engine.candidate.uri=https://a/b.tar", "engine.candidate.sha256 is missing"),
    (f"engine.digest={DIGEST}", "so that both judges are one"),
    ("engine.candidate.url=http://a:8000", "engine.candidate.url has an effect only"),
    ("engine.candidate.experiment=", "without engine.candidate.experiment"),
    ("settings.topics.shadow=posts", "give every topic a name of its own"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_a_candidate_that_cannot_work_is_refused_with_its_fix(change: str, said: str) -> None:
    answer = render(*VALUES, "--set", change)
    assert answer.code != 0
    assert said in answer.said


def test_a_server_judges_only_where_its_address_is_given() -> None:
    external = ("-f", str(CHART / "ci" / "external-values.yaml"))
    own = (
        "engine.candidate.experiment=a,engine.candidate.policyFile=c.yaml,engine.candidate.uri=pvc://models/new,"
        f"engine.candidate.digest=sha256:{'3' * 64},engine.candidate.keys.existingConfigMap=k,engine.candidate.key.existingSecret=s"
    )
    files = ("--set", f"policy.existingConfigMap=mine,{own}")
    answer = render(*external, *files)
    assert "engine.candidate.url is missing" in answer.said
    answer = render(*external, *files, "--set", "engine.candidate.url=http://candidate.models:8000")
    assert answer.code == 0, answer.said
    said = yaml.safe_load(answer.of("ConfigMap", "sluicegate-shadow")["data"]["settings.yaml"])
    assert said["engine"]["adapters"]["candidate"]["url"] == "http://candidate.models:8000"
