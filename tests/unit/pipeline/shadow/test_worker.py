"""The settings that a shadow runs with: its own group, and nothing that it shares with live workers."""

from __future__ import annotations

import pytest

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.worker import shadow_settings


def test_a_shadow_has_a_group_of_its_experiment_and_shares_no_cache_and_no_screen() -> None:
    given = Settings(
        kafka={"group": "guards"},
        cache={"redis_url": "redis://cache:6379"},
        screen={"path": "/screens/guard"},
        candidate={"experiment": "adapter-2"},
    )
    found = shadow_settings(given)
    assert found.kafka.group == "guards.shadow.adapter-2"
    assert found.cache.redis_url is None
    assert found.screen.path is None
    assert found.topics == given.topics
    assert found.engine == given.engine


def test_the_candidates_policy_decides_in_its_shadow() -> None:
    given = Settings(
        policy={"path": "/old.yaml"},
        candidate={"experiment": "e", "policy": "/new.yaml", "keys": "/keys"},
    )
    assert str(shadow_settings(given).policy.path) == "/new.yaml"


def test_an_experiment_without_a_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="SLUICEGATE_CANDIDATE__EXPERIMENT"):
        shadow_settings(Settings())
