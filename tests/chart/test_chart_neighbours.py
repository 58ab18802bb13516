"""Two releases beside each other: in one namespace, and of one name in two. What Helm sees there is in chart_e2e."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, Answer, render

pytestmark = pytest.mark.helm

GPU = ("-f", str(CHART / "ci" / "gpu-values.yaml"))
THREE = {
    "one": render(*GPU, release="guard"),
    "beside": render(*GPU, release="teens"),
    "elsewhere": render(*GPU, "-n", "forum", release="guard"),
}


def _settings(answer: Answer) -> dict[str, Any]:
    tree = yaml.safe_load(answer.of("ConfigMap", "-settings")["data"]["settings.yaml"])
    assert isinstance(tree, dict)
    return tree


def _dashboard(answer: Answer) -> tuple[str, dict[str, Any]]:
    ((file, text),) = answer.of("ConfigMap", "-dashboard")["data"].items()
    return file, json.loads(text)


def test_no_two_releases_have_a_group_a_control_topic_or_a_dashboard_in_common() -> None:
    groups = {name: _settings(answer)["kafka"]["group"] for name, answer in THREE.items()}
    assert groups == {
        "one": "moderation.guard-sluicegate",
        "beside": "moderation.teens-sluicegate",
        "elsewhere": "forum.guard-sluicegate",
    }
    for name, answer in THREE.items():
        assert _settings(answer)["topics"]["control"] == f"{groups[name]}.control"
        assert _dashboard(answer)[0] == f"{groups[name]}.json"
        assert len(_dashboard(answer)[1]["uid"]) <= 40, "Grafana takes no longer one"
    for shown in ("uid", "title"):
        assert len({_dashboard(answer)[1][shown] for answer in THREE.values()}) == len(THREE)


def test_a_dashboard_shows_its_own_release_first() -> None:
    for answer in THREE.values():
        monitor = answer.of("PodMonitor")["metadata"]
        (job,) = (one for one in _dashboard(answer)[1]["templating"]["list"] if one["name"] == "job")
        assert job["current"]["value"] == [f"{monitor['namespace']}/{monitor['name']}"]


def test_whoever_asks_for_the_group_or_has_rights_on_it_means_the_workers() -> None:
    for answer in THREE.values():
        group = _settings(answer)["kafka"]["group"]
        kafka, *_ = answer.of("ScaledObject")["spec"]["triggers"]
        assert kafka["metadata"]["consumerGroup"] == group
        acls = answer.of("KafkaUser")["spec"]["authorization"]["acls"]
        assert [one["resource"]["name"] for one in acls if one["resource"]["type"] == "group"] == [group]
        topics = {one["spec"]["topicName"] for one in answer.all("KafkaTopic")}
        assert topics == set(_settings(answer)["topics"].values())


def test_a_group_and_a_control_topic_of_ones_own_choice_stay() -> None:
    own = "settings.kafka.group=sluicegate,settings.topics.control=sluicegate.control"
    settings = _settings(render(*GPU, "--set", own))
    assert (settings["kafka"]["group"], settings["topics"]["control"]) == ("sluicegate", "sluicegate.control")
