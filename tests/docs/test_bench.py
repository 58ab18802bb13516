"""The page about the bench against the code."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main

from sluicegate.pipeline import command
from sluicegate.pipeline.trial.bench.figures import FIGURES
from sluicegate.pipeline.trial.bench.ledger import STAGES
from sluicegate.pipeline.trial.bench.load import MOST_POSTS, Shape
from sluicegate.pipeline.trial.bench.report import parse_threshold

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^sluicegate bench .*$", PAGE, re.MULTILINE)
OPTIONS = {
    option: parameter
    for parameter in typer.main.get_command(command.app).commands["bench"].params  # type: ignore[attr-defined]  # a group has commands
    for option in parameter.opts
}


def rows(heading: str) -> dict[str, str]:
    """The table below a heading of its own row."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))


def test_the_tables_are_those_of_the_report() -> None:
    assert rows("figure") == FIGURES
    assert rows("stage") == STAGES
    assert list(rows("shape")) == [shape.value for shape in Shape]


def test_the_help_says_where_the_latency_ends_and_which_figure_goes_on() -> None:
    told = typer.main.get_command(command.app).commands["bench"].help  # type: ignore[attr-defined]  # a group has commands
    assert "seen_p99_ms, which ends where the verdict is read here" in " ".join(told.split())
    assert "`--settle`" in PAGE.partition("## Limits")[2]


def test_the_bound_is_the_one_in_force() -> None:
    assert "two million posts" in PAGE
    assert MOST_POSTS == 2_000_000


@pytest.mark.parametrize("line", COMMANDS)
def test_the_options_named_exist_and_the_thresholds_can_be_read(line: str) -> None:
    words = shlex.split(line)
    assert {word for word in words if word.startswith("--")} <= OPTIONS.keys()
    for word, value in pairwise(words):
        if word == "--fail-if":
            parse_threshold(value)


def test_what_make_calls_exists() -> None:
    recipe = MAKEFILE.split("\nbench-quick:", 1)[1].split("\n\n", 1)[0]
    (common,) = re.findall(r"^BENCH = (.*)$", MAKEFILE, re.MULTILINE)
    assert recipe.count("sluicegate bench") == 2
    assert set(re.findall(r"--[a-z-]+", recipe + common.partition("$(")[0])) <= OPTIONS.keys()
