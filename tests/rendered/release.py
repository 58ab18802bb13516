"""A release on the tests' own broker: a file of the chart's ci/, and what differs from it here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from chart.rendering import CHART, render

if TYPE_CHECKING:
    from pathlib import Path

    from chart.rendering import Answer, Document

TOPICS = ("posts", "allow", "review", "block", "dead_letter", "control")
VERDICTS = ("allow", "review", "block")
SHOWN = {"round-trip": '"post_id": "helm-test/', "dead-letter": "invalid_post"}
"""The pods of `helm test`, each with words that it says where all is well."""


def names(prefix: str) -> dict[str, str]:
    """Topics of one release's own."""
    return {role: f"{prefix}.{role}" for role in TOPICS}


def settings_of(prefix: str) -> dict[str, Any]:
    """Values that give a release topics and a group of its own, on one broker for all."""
    return {"settings": {"kafka": {"group": prefix}, "topics": names(prefix)}}


def release(profile: str, values: dict[str, Any], folder: Path) -> Answer:
    """The profile's file of ci/, with these values over it, rendered."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    answer = render("-f", str(CHART / "ci" / f"{profile}-values.yaml"), "-f", str(file))
    assert answer.code == 0, answer.said
    return answer


def helm_tests(answer: Answer) -> dict[str, Document]:
    """The pods of `helm test` by their container's name; one that is not in :data:`SHOWN` would not be run."""
    pods = {one["spec"]["containers"][0]["name"]: one for one in answer.all("Pod")}
    assert pods.keys() == SHOWN.keys()
    return pods
