"""docs/operations.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

from sluicegate.pipeline.metrics import Metrics
from sluicegate.pipeline.reference import metrics_table, refreshed, settings_table
from sluicegate.pipeline.settings import Settings

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations.md"


def test_the_generated_tables_are_as_the_code_has_them() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert settings_table() in text
    assert metrics_table() in text
    assert refreshed(text) == text, "run `make schemas`"


def test_every_exported_metric_is_documented_and_no_other() -> None:
    exported = {family.name for family in Metrics().registry.collect()}
    documented = set(
        re.findall(r"^\| `(sluicegate_\w+?)(?:_total|_info)?` \|", metrics_table(), re.MULTILINE)
    )
    assert documented == exported


def test_metrics_named_in_the_prose_exist() -> None:
    known = set(re.findall(r"^\| `(sluicegate_\w+)`", metrics_table(), re.MULTILINE))
    named = set(re.findall(r"\bsluicegate_[a-z_]+", DOCUMENT.read_text(encoding="utf-8")))
    assert named <= known


def test_every_setting_is_documented_with_a_meaning() -> None:
    leaves = {f"{section}.{name}" for section, value in Settings().model_dump().items() for name in value}
    rows = {
        row[0]: row
        for row in re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \| (.+) \|$", settings_table(), re.MULTILINE)
    }
    assert rows.keys() == leaves
    for name, (_name, unit, default, meaning) in rows.items():
        assert unit, name
        assert default, name
        assert meaning.endswith("."), name
