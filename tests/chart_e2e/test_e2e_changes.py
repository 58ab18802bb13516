"""Upgrade, rollback and uninstall, by real Helm on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from chart.rendering import CHART, NAMES
from chart_e2e.api_server import told
from chart_e2e.hooks import MERGE
from chart_e2e.releases import PREVIOUS, values_for_previous

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chart_e2e.releases import Release

pytestmark = [pytest.mark.helm, pytest.mark.apiserver]


def _values(name: str) -> Path:
    return CHART / "ci" / f"{name}-values.yaml"


WITH_A_PREDECESSOR = {name: old for name in NAMES if (old := values_for_previous(_values(name)))}


KEPT = ("--set", "settings.kafka.group=sluicegate,settings.topics.control=sluicegate.control")
"""What the chart before gave every release."""


@pytest.fixture
def release(new_release: Callable[[], Release]) -> Release:
    return new_release()


def _kept(release: Release) -> set[tuple[str, str]]:
    """What stays on purpose: topics, since deleting the object would delete the topic with its posts."""
    return {(kind, name) for kind, name in release.names() if kind == "KafkaTopic"}


@pytest.mark.parametrize("name", WITH_A_PREDECESSOR)
def test_the_chart_before_becomes_this_one_and_comes_back(
    name: str, new_release: Callable[[], Release], tmp_path: Path
) -> None:
    before = tmp_path / "values.yaml"
    before.write_text(yaml.safe_dump(WITH_A_PREDECESSOR[name]), encoding="utf-8")
    release, fresh = new_release(), new_release()
    release.install(before, PREVIOUS)
    old, old_kept = release.state(), _kept(release)

    release.upgrade(_values(name), *KEPT)
    fresh.install(_values(name), more=KEPT)
    assert release.lost() == []
    assert release.state() == fresh.state(), "an upgrade ends where an installation does"
    assert release.there() == release.names() | old_kept
    new_kept = _kept(release)

    release.helm("rollback", "1")
    assert release.state() == old
    assert release.there() == release.names() | new_kept


@pytest.mark.parametrize("name", NAMES)
def test_uninstall_leaves_the_topics_and_nothing_else(name: str, release: Release) -> None:
    release.install(_values(name))
    kept = _kept(release)
    said = release.helm("uninstall")
    assert release.there() == kept
    assert all(topic in said for _, topic in kept), "Helm says what it keeps"
    release.install(_values(name))
    assert release.lost() == []


def test_the_pods_of_helm_test_stay_for_their_logs(release: Release) -> None:
    release.install(_values("cpu"))
    release.helm("test")
    release.helm("uninstall")
    assert {kind for kind, _ in release.there()} == {"Pod"}
    assert len(release.there()) == 2


@pytest.mark.parametrize("change", [(), ("--set-string", "policy.files.note\\.md=reviewed")])
def test_an_upgrade_of_nothing_or_of_a_policy_restarts_no_worker(
    change: tuple[str, ...], release: Release
) -> None:
    release.install(_values("gpu"))
    before = release.deployment()["metadata"]["generation"]
    release.upgrade(_values("gpu"), *change)
    assert release.deployment()["metadata"]["generation"] == before
    assert release.lost() == []


def test_an_upgrade_restarts_the_workers_for_other_settings(release: Release) -> None:
    release.install(_values("gpu"))
    before = release.deployment()
    release.upgrade(_values("gpu"), "--set", "settings.engine.concurrency=256")
    assert release.deployment()["spec"]["template"] != before["spec"]["template"]


def test_an_upgrade_keeps_the_number_of_workers_that_the_scaler_chose(release: Release) -> None:
    release.install(_values("gpu"))
    scale = f"{release.server.path('apps/v1', 'Deployment', release.namespace, release.worker)}/scale"
    told(release.server.admin.patch(scale, json={"spec": {"replicas": 7}}, headers=MERGE))
    release.upgrade(_values("gpu"), "--set", "settings.engine.concurrency=256")
    assert release.deployment()["spec"]["replicas"] == 7


def test_topics_that_cannot_be_made_stop_an_upgrade_before_it_touches_the_workers(release: Release) -> None:
    release.install(_values("cpu"))
    before = release.deployment()
    with pytest.raises(AssertionError, match="pre-upgrade hooks failed"):
        release.upgrade(_values("cpu"), "--set", "settings.log.level=info", well=False)
    assert release.deployment() == before
    release.upgrade(_values("cpu"), "--set", "settings.log.level=info")
    assert release.deployment()["spec"]["template"] != before["spec"]["template"]
