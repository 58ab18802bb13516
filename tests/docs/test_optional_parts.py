"""The pages on optional parts against the code: their settings load, and what they name exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from opentelemetry.sdk import environment_variables

from docs.pages import text
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.observe.tracing import BatchStep
from sluicegate.pipeline.shortcuts.redis_cache import _BACKGROUND_S, _DUE, _LATE, _PREFIX, _RETRY_S

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARED_CACHE = text("connections").partition("## Share findings between workers")[2]
TRACING = text("connections").partition("## Trace a post")[2].partition("## Share findings")[0]


def blocks(page: str, language: str = "") -> list[str]:
    found: list[tuple[str, str]] = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def first_column(page: str) -> set[str]:
    rows: Iterable[str] = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


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
    steps = {*get_args(BatchStep), "take", "decode"}
    assert first_column(TRACING) == {"post", "publish", *steps}


def test_the_variables_are_opentelemetrys_own() -> None:
    (example,) = [block for block in blocks(TRACING, "text") if "OTEL_" in block]
    assert {line.partition("=")[0] for line in example.split()} <= set(dir(environment_variables))
