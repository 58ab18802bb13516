"""docs/evaluate.md against the code: measures, files, limits and numbers."""

from __future__ import annotations

import re

import yaml

from docs.pages import blocks, names_in_first_column, section, text
from sluicegate.engines.adapt.calibrate.calibrate import _LEAST_ROWS
from sluicegate.engines.adapt.calibrate.fitting import FITS, FOLDS, Aims
from sluicegate.engines.adapt.calibrate.grouping import MINIMUM_ROWS
from sluicegate.engines.adapt.evaluate.journal import JOURNAL
from sluicegate.engines.adapt.evaluate.measures import BINS, MEASURES, MOST_RESAMPLES
from sluicegate.engines.adapt.evaluate.report import PLOTS
from sluicegate.engines.adapt.evaluate.run import EVALUATION, REPORT
from sluicegate.engines.adapt.evaluate.scored import SCORES
from sluicegate.engines.adapt.gate.differences import RESAMPLES
from sluicegate.engines.adapt.gate.limits import GateLimits, built_in_text
from sluicegate.engines.adapt.gate.report import SAID

PAGE = text("evaluate")


def test_the_page_names_every_measure_and_every_file() -> None:
    assert names_in_first_column(section("evaluate", "What is measured")) == list(MEASURES)
    files = [REPORT, EVALUATION, SCORES, JOURNAL, *PLOTS]
    assert names_in_first_column(section("evaluate", "Files of an evaluation")) == files
    assert f"{BINS} bins" in PAGE
    assert f"up to {MOST_RESAMPLES:,} times" in PAGE


def test_the_limits_are_the_built_in_ones_and_the_example_is_one() -> None:
    example, built_in = (one.text for one in blocks("evaluate", "yaml")[-2:])
    assert built_in == built_in_text()
    mine = GateLimits.over_built_in(yaml.safe_load(example))
    assert (mine.language.macro_f1_drop, mine.always.benign_false_positives_most) == (0.03, 0.1)


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert f"{RESAMPLES:,} times" in PAGE
    for name in ("macro_f1", "harmful_recall", "benign_false_positives", "benign_blocked", "block_rate"):
        assert SAID[name] in PAGE
    assert FOLDS == 5  # "each fifth"
    assert _LEAST_ROWS == 50  # "below fifty"
    assert f"`--minimum-rows` ({MINIMUM_ROWS})" in PAGE
    assert re.findall(r"^- \*\*([a-z]+)\*\*", section("evaluate", "How it is fitted"), re.MULTILINE) == list(
        FITS
    )
    for name in Aims((0.01,), (5,)).names():
        assert f"`{name}`" in PAGE
