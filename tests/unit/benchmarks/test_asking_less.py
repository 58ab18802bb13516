"""The page on asking less: its figures are the reports', and the simulated one says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from asking_less import study as asking_less
from sluicegate.pipeline.settings.sections import NearDuplicateSettings

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "shortcuts.md").read_text(encoding="utf-8")


def test_the_pages_figures_are_the_reports() -> None:
    assert asking_less.main(["--check"]) == 0


def test_a_page_that_is_behind_is_told_and_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{asking_less.BEGIN}\nold\n{asking_less.END}\nafter\n", encoding="utf-8")
    assert asking_less.main(["--check", "--page", str(page)]) == 1
    assert asking_less.main(["--page", str(page)]) == 0
    assert asking_less.main(["--check", "--page", str(page)]) == 0
    told = page.read_text(encoding="utf-8")
    assert told.startswith("before\n")
    assert told.endswith("\nafter\n")
    assert "old" not in told


def test_a_page_without_a_place_for_figures_is_refused() -> None:
    with pytest.raises(SystemExit, match="the page has no lines"):
        asking_less.filled("text", "| a |")


def test_what_is_simulated_is_called_so_in_its_row() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "H100" in line]
    assert len(rows) == 1
    assert all("simulated" in cell.lower() for cell in rows[0].strip("| ").split(" | "))


def test_the_defaults_are_as_the_page_says() -> None:
    assert not NearDuplicateSettings().enabled
    assert "are off by default" in PAGE
