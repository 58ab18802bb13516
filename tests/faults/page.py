"""Puts the report of the fault suite into docs/guarantee.md: ``python -m faults.page``."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORT, PAGE = ROOT / "benchmarks/reports/faults.md", ROOT / "docs/guarantee.md"
_BEGIN, _END = "<!-- faults:begin -->\n", "<!-- faults:end -->\n"


def block(page: str) -> str:
    """What stands between the marks.

    Raises:
        ValueError: The page has no marks.
    """
    return page[page.index(_BEGIN) + len(_BEGIN) : page.index(_END)]


def as_block(report: str) -> str:
    """The report without its title, as it stands between the marks."""
    return report.partition("\n")[2].strip() + "\n"


def refresh(page: str, report: str) -> str:
    """The page with the report between its marks."""
    start, end = page.index(_BEGIN) + len(_BEGIN), page.index(_END)
    return page[:start] + as_block(report) + page[end:]


if __name__ == "__main__":
    PAGE.write_text(refresh(PAGE.read_text(), REPORT.read_text()))
