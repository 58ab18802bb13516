"""The summary of an experiment: coverage before every rate, and counts over time in a bounded number of points."""

from __future__ import annotations

import json

import pytest

from sluicegate.pipeline.shadow.comparison import Comparison, Pairs
from sluicegate.pipeline.shadow.summary import MOST_POINTS, EngineCost, Series, covered, engine_s_per_1000
from sluicegate.pipeline.shadow.tally import Tally
from unit.pipeline.shadow.sides import CANDIDATES, INCUMBENT, INCUMBENTS, compared, side
from unit.pipeline.shadow.summaries import a_summary, a_tally


def test_a_summary_is_made_of_json_values_and_says_its_coverage_first() -> None:
    document = a_summary()
    read = json.loads(json.dumps(document, allow_nan=False))
    assert read.keys() == document.keys()
    assert next(iter(read["tally"])) == "coverage"
    assert document["conclusion"]["ruling"] == "open"


def test_what_came_too_late_lowers_the_coverage() -> None:
    pairs = Pairs(INCUMBENTS, CANDIDATES)
    pairs.late = 60
    before, after = covered(a_summary()), covered(a_summary(pairs=pairs))
    assert after == pytest.approx(before * 40 / 100)


def test_nothing_is_covered_where_nothing_was_counted() -> None:
    assert covered(a_summary(tally=Tally())) == 0


def test_the_series_ends_with_this_moment_once() -> None:
    series, tally = Series(), a_tally()
    series.note(3_600.0, tally)
    document = a_summary(tally=tally, series=series.points)
    assert [one["until_at"] for one in document["series"]] == [3_600.0, 7_200.0]
    again = a_summary(tally=tally, series=[*series.points, series.points[0]._replace(until_at=7_200.0)])
    assert [one["until_at"] for one in again["series"]] == [3_600.0, 3_600.0, 7_200.0][1:]


def test_counts_over_time_add_up_to_all_contents() -> None:
    tally = a_tally()
    tally.add(Comparison(side(INCUMBENT, "alone"), None))
    tally.add(compared("allow", "allow", "failed", failed=True))
    last = a_summary(tally=tally)["series"][-1]
    assert (last["missing"], last["failed"]) == (1, 1)
    assert last["compared"] + last["missing"] + last["failed"] == last["contents"]


def test_a_series_has_no_more_points_than_there_is_room_and_keeps_the_last() -> None:
    series, tally = Series(every_s=60.0), Tally()
    for number in range(5_000):
        series.note(60.0 * number, tally)
    assert len(series.points) <= MOST_POINTS
    at = [one.until_at for one in series.points]
    assert at == sorted(set(at))
    assert at[-1] > 60.0 * 5_000 - 2 * series.every_s


def test_a_point_that_is_too_near_is_not_noted() -> None:
    series = Series(every_s=60.0)
    assert series.note(0.0, Tally())
    assert not series.note(59.0, Tally())
    assert series.note(60.0, Tally())


def test_a_cost_is_known_where_it_was_counted() -> None:
    assert engine_s_per_1000(EngineCost(2_000, 5.0)._asdict()) == 2.5
    assert engine_s_per_1000(EngineCost(2_000, None)._asdict()) is None
    assert engine_s_per_1000(EngineCost(0, 0.0)._asdict()) is None


def test_a_summary_of_an_earlier_comparator_can_be_read() -> None:
    document = a_summary()
    before = covered(document)
    del document["unjoined"]["waiting"]
    assert covered(document) == before
