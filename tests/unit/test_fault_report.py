"""The fault suite's table, page and closing line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faults.outcome import Outcome
from faults.play import Played
from faults.report import closing_line, failure_lines, row, table, write_report
from faults.run import chosen
from faults.scenario import SCENARIOS, Scenario


def played(*, lost: int = 0, broken: tuple[str, ...] = ()) -> Played:
    outcome = Outcome(1200, 1300, 100, 0, lost, 0, {"kills": 52})
    one = Scenario(1, "sigkill", lambda _stage: None)
    return Played(one, outcome, broken, 125.4, Path("/kept/here") if lost or broken else None)


def test_a_row_holds_every_figure() -> None:
    assert row(played()).split() == [
        "1",
        "sigkill",
        "1200",
        "1300",
        "100",
        "0",
        "0",
        "0",
        "125",
        "kills",
        "52",
    ]


def test_the_closing_line_counts_who_kept_the_promise() -> None:
    assert closing_line([played(), played(lost=1)]) == "faults: 1 of 2 kept the promise"
    assert closing_line([played(), played(broken=("x",))]) == "faults: 1 of 2 kept the promise"
    assert closing_line([played(), played()]) == "faults: 2 of 2 kept the promise"


def test_a_failed_scenario_says_what_was_not_met_and_where_to_read_on() -> None:
    lines = failure_lines(played(broken=("a worker ended",)))
    assert lines == ["   NOT MET: a worker ended", "   history and logs: /kept/here"]
    assert failure_lines(played()) == []


def test_the_table_has_a_head_and_a_row_for_each() -> None:
    assert len(table([played(), played()]).splitlines()) == 3


def test_the_report_is_a_page_and_data(tmp_path: Path) -> None:
    write_report(tmp_path, [played(), played(lost=2, broken=("not | met",))], seed=7)
    page = (tmp_path / "faults.md").read_text()
    assert "| 1 | sigkill | 1,200 | 1,300 | 100 | 0 | 0 | 0 | 125 | kills 52 |" in page
    assert "NOT MET: not \\| met" in page
    assert page.endswith("`faults: 1 of 2 kept the promise`\n")
    data = json.loads((tmp_path / "faults.json").read_text())
    assert (data["seed"], data["kept"], len(data["scenarios"])) == (7, 1, 2)
    assert data["scenarios"][1]["lost"] == 2
    assert "Apache Kafka" in data["versions"]


def test_scenarios_are_chosen_by_name_and_for_the_shortened_set() -> None:
    assert chosen(only=[], short=False) == SCENARIOS
    assert all(one.short for one in chosen(only=[], short=True))
    assert [one.name for one in chosen(only=["sigkill"], short=False)] == ["sigkill"]
    with pytest.raises(ValueError, match="no such scenario: nothing; there are"):
        chosen(only=["nothing"], short=False)


def test_every_number_that_this_suite_covers_has_a_scenario() -> None:
    assert {1, 2, 3, 4, 5} <= {one.number for one in SCENARIOS}
