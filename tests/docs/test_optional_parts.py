"""The pages on optional parts against the code: their settings load, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
import yaml
from opentelemetry.sdk import environment_variables

from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.observe.tracing import BatchStep, PostStep
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shortcuts.redis_cache import _BACKGROUND_S, _DUE, _LATE, _PREFIX, _RETRY_S

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
SHARED_CACHE = (ROOT / "docs" / "shared-cache.md").read_text(encoding="utf-8")
TRACING = (ROOT / "docs" / "connections.md").read_text(encoding="utf-8").partition("## Trace a post")[2]


def blocks(page: str, language: str = "") -> list[str]:
    found: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def first_column(page: str) -> set[str]:
    rows: Iterable[str] = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("page", [SHARED_CACHE, TRACING], ids=["shared cache", "tracing"])
def test_the_settings_of_the_page_load(page: str, tmp_path: Path) -> None:
    (example,) = blocks(page, "yaml")
    path = tmp_path / "settings.yaml"
    path.write_text(example)
    settings = load_settings(path)
    (section,) = yaml.safe_load(example)
    assert getattr(settings, section) != getattr(load_settings(), section)


@pytest.mark.parametrize("page", [SHARED_CACHE, TRACING], ids=["shared cache", "tracing"])
def test_the_extra_that_the_page_installs_exists(page: str) -> None:
    (extra,) = re.findall(r"pip install 'sluicegate\[(\w+)\]'", page)
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_page_names_the_metrics_and_numbers_of_the_code() -> None:
    exported = {f"{metric.name}_total" for metric in Metrics().registry.collect()}
    named = set(re.findall(r"`(sluicegate_\w+)", SHARED_CACHE))
    assert len(named) == 2
    assert named <= exported
    assert f"`{_PREFIX}`" in SHARED_CACHE
    assert (_RETRY_S, _BACKGROUND_S, _DUE, _LATE) == (5.0, 2.0, 4096, 8)
    for said in ("five seconds", "2 s have passed", "4,096 wait", "eight times in a row"):
        assert said in SHARED_CACHE


def test_the_table_has_every_span() -> None:
    steps = {*get_args(BatchStep), *get_args(PostStep)}
    assert first_column(TRACING) == {"post", "publish", *steps}


def test_the_variables_are_opentelemetrys_own() -> None:
    (example,) = [block for block in blocks(TRACING, "text") if "OTEL_" in block]
    assert {line.partition("=")[0] for line in example.split()} <= set(dir(environment_variables))
