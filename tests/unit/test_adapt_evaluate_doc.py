"""The page on evaluating against the code."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from sluicegate.engines.adapt.evaluate.journal import JOURNAL
from sluicegate.engines.adapt.evaluate.measures import BINS, MEASURES, MOST_RESAMPLES
from sluicegate.engines.adapt.evaluate.report import PLOTS
from sluicegate.engines.adapt.evaluate.run import EVALUATION, REPORT
from sluicegate.engines.adapt.evaluate.scored import SCORES
from sluicegate.pipeline.command import app

PAGE = (Path(__file__).parents[2] / "docs" / "adapt-evaluate.md").read_text(encoding="utf-8")


def first_column(heading: str) -> list[str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        name
        for cell in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", cell)
    ]


def test_the_page_names_every_measure_and_every_file() -> None:
    assert first_column("What is measured") == list(MEASURES)
    assert first_column("What is written") == [REPORT, EVALUATION, SCORES, JOURNAL, *PLOTS]
    assert f"{BINS} bins" in PAGE
    assert f"up to {MOST_RESAMPLES:,} times" in PAGE


def test_every_option_of_the_page_is_one() -> None:
    shown = CliRunner().invoke(app, ["adapt", "evaluate", "--help"], env={"COLUMNS": "200"}).stdout
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE))
    assert len(options) > 10
    assert {one for one in options if one not in shown} == set()
