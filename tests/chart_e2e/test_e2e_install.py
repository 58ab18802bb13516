"""Each way of installing, by real Helm on a real API server with RBAC and Pod Security `restricted`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from chart.rendering import CHART, NAMES
from chart_e2e.api_server import told
from chart_e2e.keeping import dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chart.rendering import Document
    from chart_e2e.api_server import ApiServer
    from chart_e2e.releases import Release

pytestmark = [pytest.mark.helm, pytest.mark.apiserver]


@pytest.fixture(scope="module", params=NAMES)
def release(request: pytest.FixtureRequest, new_release: Callable[[], Release]) -> Release:
    """A way of installing, installed. Tests look at it and leave it as it is."""
    new = new_release()
    new.install(CHART / "ci" / f"{request.param}-values.yaml")
    return new


@pytest.fixture
def accounts(release: Release, server: ApiServer) -> Iterator[None]:
    """The accounts of hooks, which Helm deletes once those went well."""
    made = [one for one in release.get("hooks") if one["kind"] == "ServiceAccount"]
    for one in made:
        server.create(one, release.namespace)
    yield
    for one in made:
        told(server.admin.delete(server.path("v1", one["kind"], release.namespace, one["metadata"]["name"])))


def _pods(release: Release) -> list[Document]:
    sent = [*release.get("manifest"), *release.get("hooks")]
    return [
        one if one["kind"] == "Pod" else one["spec"]["template"]
        for one in sent
        if one["kind"] in ("Deployment", "Job", "Pod")
    ]


def test_the_server_keeps_every_field(release: Release) -> None:
    assert {"Deployment", "ConfigMap"} <= {kind for kind, _ in release.names()}
    assert release.lost() == []
    assert release.there() == release.names(), "a hook's objects are gone once it went well"


def test_what_the_server_drops_is_noticed(server: ApiServer) -> None:
    namespace = server.open_namespace("dropped")
    metadata = {"name": "misspelt"}
    for api_version, kind in (("v1", "Secret"), ("monitoring.coreos.com/v1", "PodMonitor")):
        sent = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "datum": {"key": "value"}}
        assert dropped(sent, server.create(sent, namespace)) == [".datum.key: 'value' sent, None there"]


def test_the_topics_job_ends_before_there_is_a_worker(release: Release) -> None:
    jobs = [one for one in release.get("hooks") if one["kind"] == "Job"]
    assert [(one.kind, one.deployments) for one in release.finished] == [("Job", {}) for _ in jobs]


@pytest.mark.usefixtures("accounts")
def test_every_pod_is_one_that_pod_security_restricted_takes(release: Release) -> None:
    pods = _pods(release)
    assert pods
    for pod in pods:
        answer = release.server.try_pod(pod, release.namespace)
        made = told(answer)["spec"]
        # The server tolerates failing nodes for five minutes, in each pod.
        made["tolerations"] = [one for one in made["tolerations"] if "tolerationSeconds" not in one]
        assert dropped(pod["spec"], made) == []


@pytest.mark.usefixtures("accounts")
def test_a_pod_that_asks_for_more_is_refused(release: Release) -> None:
    for pod in _pods(release):
        loose = copy.deepcopy(pod)
        loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        answer = release.server.try_pod(loose, release.namespace)
        assert answer.status_code == 403, answer.text
        assert "violates PodSecurity" in answer.text


@pytest.mark.usefixtures("accounts")
def test_no_pod_gets_a_token_of_the_api(release: Release) -> None:
    for pod in _pods(release):
        made = release.server.try_pod(pod, release.namespace).json()
        assert [
            one for one in made["spec"]["volumes"] if "projected" in one and "kube-api" in one["name"]
        ] == []


@pytest.mark.usefixtures("accounts")
def test_the_accounts_may_do_nothing(release: Release, server: ApiServer) -> None:
    assert not {kind for kind, _ in release.there()} & {"Role", "RoleBinding"}
    nobody = _rights(server, server.open_namespace(f"{release.namespace}-nobody"), "default")
    accounts = {pod["spec"].get("serviceAccountName", "default") for pod in _pods(release)}
    for account in accounts:
        assert _rights(server, release.namespace, account) == nobody
    assert not [one for one in nobody if one.get("resources") == ["secrets"]]


def _rights(server: ApiServer, namespace: str, account: str) -> list[Document]:
    """What an account may do in its namespace; that it may not read Secrets is tried, too."""
    path = server.path("v1", "ServiceAccount", namespace, account)
    token = told(server.admin.post(f"{path}/token", json={}))["status"]["token"]
    with server.client(token) as client:
        assert client.get(server.path("v1", "Secret", namespace)).status_code == 403
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        answer = client.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", json=review)
        rules: list[Document] = told(answer)["status"]["resourceRules"]
    return sorted(rules, key=str)


def test_helm_test_makes_its_pods_and_waits_for_them(release: Release) -> None:
    pods = {("Pod", one["metadata"]["name"]) for one in release.get("hooks") if one["kind"] == "Pod"}
    release.helm("test")
    assert {(one.kind, one.name) for one in release.finished} == pods
    if pods:
        with pytest.raises(AssertionError, match="failed"):
            release.helm("test", well=False)
