"""docs/operations.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from sluicegate.pipeline.observe.metrics import Metrics, metrics_table, refreshed
from sluicegate.pipeline.settings.tree import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_generated_table_is_as_the_code_has_it() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert metrics_table() in text
    assert refreshed(text) == text, "run `make schemas`"


def test_every_exported_metric_is_documented_and_no_other() -> None:
    exported = {family.name for family in Metrics().registry.collect()}
    process = {name for name in exported if not name.startswith("sluicegate_")}
    assert {name.partition("_")[0] for name in process} <= {"process"}  # the prose has them
    exported -= process
    documented = set(
        re.findall(r"^\| `(sluicegate_\w+?)(?:_total|_info)?` \|", metrics_table(), re.MULTILINE)
    )
    assert documented == exported


def test_metrics_named_in_the_prose_exist() -> None:
    known = set(re.findall(r"^\| `(sluicegate_\w+)`", metrics_table(), re.MULTILINE))
    named = set(re.findall(r"\bsluicegate_[a-z_]+", DOCUMENT.read_text(encoding="utf-8")))
    assert named <= known


def test_the_settings_shown_are_ones_that_a_worker_takes() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert Settings(**yaml.safe_load(shown)).engine.dialect == "trtllm_chat"


def test_settings_named_in_the_prose_exist() -> None:
    known = {f"{section}.{name}" for section, tree in Settings().model_dump().items() for name in tree}
    sections = "|".join(Settings.model_fields)
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)`", DOCUMENT.read_text(encoding="utf-8")))
    assert {"drain.budget_s", "window.posts"} <= named <= known
