"""Slices: what two models did on each month, and every model beside every month."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluicegate.engines.adapt.cycle.ledger import SnapshotRow
from sluicegate.engines.adapt.cycle.slices import JudgedModel, compare_slices, matrix_page, slice_matrix
from sluicegate.engines.adapt.evaluate.scored import ScoredRow

if TYPE_CHECKING:
    from sluicegate.schemas import Severity


def row(name: str, month: int, found: Severity = "safe") -> SnapshotRow:
    return SnapshotRow(
        id=name,
        case=name,
        author="a",
        tenant="forum",
        severity="unsafe",
        basis="single",
        votes=(0, 0, 1),
        decisions=(),
        verdicts=(),
        found=found,
        decided_at=datetime(2026, month, 3, tzinfo=UTC),
    )


def scored(**said: Severity) -> list[ScoredRow]:
    """Rows that are unsafe, by what a model said of them."""
    sure = {"safe": (1.0, 0.0, 0.0), "controversial": (0.0, 1.0, 0.0), "unsafe": (0.0, 0.0, 1.0)}
    return [
        ScoredRow(id=name, source="own", kind="post", severity="unsafe", probabilities=sure[found])
        for name, found in said.items()
    ]


ROWS = {one.id: one for one in (row("a", 9), row("b", 9), row("c", 10), row("d", 10, "unsafe"))}
NEW = scored(a="unsafe", b="safe", c="unsafe", d="unsafe", kettle="unsafe")
LIVE = scored(a="unsafe", b="unsafe", c="safe", d="unsafe", kettle="unsafe")


def test_the_slice_that_lost_most_is_the_worst_whatever_the_others_gained() -> None:
    found = compare_slices(NEW, LIVE, ROWS)
    assert found.worst is not None
    name, change = found.worst
    assert (name, change.rows, change.change) == ("2026-09", 2, -0.5)
    assert found.by_slice["2026-10"].change == 0.5
    assert (found.taught.rows, found.untouched.rows) == (3, 1)


def test_an_earlier_model_is_compared_on_the_rows_that_it_judged_itself() -> None:
    earlier = JudgedModel("weekly-1", "sha256:1", scored(a="safe", gone="unsafe", kettle="unsafe"))
    found = slice_matrix(NEW, [JudgedModel("live", "sha256:0", LIVE), earlier], ROWS, 0.01)
    live, before = (one["by_slice"] for one in found["models"])
    assert live["2026-09"] == {"rows": 2, "right": 1.0, "new": 0.5}
    assert before == {
        "2026-09": {"rows": 1, "right": 0.0, "new": 1.0},
        "core": {"rows": 1, "right": 1.0, "new": 1.0},
    }
    assert {name: (one["rows"], one["new"]) for name, one in found["slices"].items()} == {
        "2026-09": (2, 0.5),
        "2026-10": (2, 1.0),
        "core": (1, 1.0),
    }


def test_the_digest_of_a_slice_says_which_rows_it_has_and_not_their_order() -> None:
    whole, turned, less = (slice_matrix(rows, [], ROWS, 0.01)["slices"] for rows in (NEW, NEW[::-1], NEW[1:]))
    assert whole == turned
    assert whole["2026-09"]["digest"] != less["2026-09"]["digest"]
    assert whole["2026-10"]["digest"] == less["2026-10"]["digest"]


def test_the_page_has_a_dash_where_a_model_never_judged() -> None:
    earlier = JudgedModel("weekly-1", "sha256:1", scored(a="safe"))
    page = matrix_page(slice_matrix(NEW, [JudgedModel("live", "sha256:0", LIVE), earlier], ROWS, 0.01))
    lines = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    assert [one.strip() for one in lines["2026-09"].split("|")[1:-1]] == [
        "2026-09",
        "2",
        "0.500",
        "1.000",
        "0.000 (1 rows; new 1.000)",
    ]
    assert lines["2026-10"].rstrip(" |").endswith("–")
    assert "more than 1.0%" in page
