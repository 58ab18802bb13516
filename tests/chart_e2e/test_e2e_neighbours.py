"""What Helm finds in a namespace before it changes anything: this release as it was, and others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from chart.rendering import CHART
from chart_e2e.releases import PREVIOUS, Release, values_for_previous
from chart_e2e.test_e2e_changes import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.helm, pytest.mark.apiserver]

CPU = CHART / "ci" / "cpu-values.yaml"
APART = "settings.topics.posts=teens.posts"


@pytest.fixture
def guard(new_release: Callable[[], Release]) -> Release:
    """A release of the chart's own names."""
    release = new_release()
    release.install(CPU)
    return release


def _beside(guard: Release, *changes: str) -> Release:
    """Another one in the same namespace, with its own topic of posts."""
    other = Release(guard.server, guard.namespace, guard.tally, "teens")
    other.install(CPU, more=tuple(word for one in (APART, *changes) for word in ("--set", one)))
    return other


def test_two_releases_live_in_one_namespace(guard: Release) -> None:
    other = _beside(guard)
    assert guard.there() == guard.names() | other.names()
    guard.upgrade(CPU, "--set", "settings.log.level=info")
    other.helm("uninstall")
    assert guard.lost() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("settings.kafka.group={own}", "release guard has the consumer group {own} on these brokers, too"),
        ("settings.topics.control={own}.control", "release guard has the control topic {own}.control"),
        ("settings.topics.posts=posts", "release guard reads posts and writes verdicts.allow"),
    ],
)
def test_a_release_that_would_collide_is_refused_unless_it_says_that_it_shares(
    change: str, said: str, guard: Release
) -> None:
    own = f"{guard.namespace}.guard-sluicegate"
    before = guard.there()
    with pytest.raises(AssertionError, match=re.escape(said.format(own=own))) as refused:
        _beside(guard, change.format(own=own))
    assert "or kafka.shared=true if you mean that" in str(refused.value)
    assert guard.there() == before
    _beside(guard, change.format(own=own), "kafka.shared=true")


def test_other_brokers_may_have_the_same_names(guard: Release) -> None:
    _beside(guard, "settings.topics.posts=posts", "kafka.bootstrapServers=kafka.elsewhere:9092")


def test_an_upgrade_never_changes_the_group_in_silence(
    new_release: Callable[[], Release], tmp_path: Path
) -> None:
    release, before = new_release(), tmp_path / "values.yaml"
    before.write_text(str(values_for_previous(CPU)), encoding="utf-8")
    release.install(before, PREVIOUS)
    old = release.state()
    own = f"{release.namespace}.guard-sluicegate"
    with pytest.raises(AssertionError, match=r"set settings\.kafka\.group=sluicegate to keep it") as refused:
        release.upgrade(CPU)
    assert f"or settings.kafka.group={own} if you mean that" in str(refused.value)
    with pytest.raises(AssertionError, match=r"set settings\.topics\.control=sluicegate\.control to keep it"):
        release.upgrade(CPU, "--set", "settings.kafka.group=sluicegate")
    assert release.state() == old
    release.upgrade(CPU, *KEPT)
    meant = f"settings.kafka.group={own},settings.topics.control={own}.control"
    release.upgrade(CPU, "--set", meant)
    release.upgrade(CPU)
    settings = release.state()["ConfigMap", "guard-sluicegate-settings"]["data"]["settings.yaml"]
    assert "group: moderation.guard-sluicegate\n" in settings
