"""The page of the guarantee tells what the suite reported, and names what is there."""

from __future__ import annotations

import re

from faults.page import PAGE, REPORT, as_block, block, refresh
from sluicegate.pipeline.observe.metrics import Metrics


def test_the_page_holds_the_report_as_it_was_written() -> None:
    assert block(PAGE.read_text()) == as_block(REPORT.read_text())


def test_a_report_is_put_between_the_marks_and_nowhere_else() -> None:
    page = PAGE.read_text()
    filled = refresh(page, "# Title\n\nFigures.\n")
    assert block(filled) == "Figures.\n"
    assert refresh(filled, f"# Title\n\n{block(page)}") == page


def test_every_metric_that_the_page_names_is_one_of_the_workers() -> None:
    metrics = {family.name for family in Metrics().registry.collect()}
    named = set(re.findall(r"`(sluicegate_\w+)", PAGE.read_text()))
    known = metrics | {f"{name}_total" for name in metrics}
    assert named
    assert named <= known
