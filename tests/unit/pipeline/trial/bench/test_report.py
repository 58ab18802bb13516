"""The report: figures counted by hand, thresholds, one page for several systems."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.trial.bench import report
from sluicegate.pipeline.trial.bench.figures import FIGURES, Scrapes, Steady, figures
from sluicegate.pipeline.trial.bench.report import FailCondition, Setting, failed, parse_threshold
from unit.pipeline.trial.bench.records import TOPICS, arrived_ms, dead_letter, ledger, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.pipeline.trial.bench.ledger import Ledger


def run() -> Ledger:
    """Ten posts: seven judged, one of them twice and two by the cache, one dead letter, one refused, one dropped."""
    found = ledger(10)
    for number in range(7):
        who = "cache" if number in (2, 3) else "engine"
        record = verdict(found, number, stamped_ms=70 + number, assessed_by=who, topic=TOPICS.review)
        found.add(record, read_ms=arrived_ms(found, number) + 100)
    found.add(verdict(found, 0, topic=TOPICS.review), read_ms=arrived_ms(found, 9))
    found.add(dead_letter(found, 7), read_ms=arrived_ms(found, 7) + 100)
    found.note_refused(8, "TOPIC_AUTHORIZATION_FAILED")
    return found


def system(
    found: Ledger | None = None, *, name: str = "ours", stopped: str = "", **setting: str
) -> dict[str, Any]:
    return report.system(
        Setting(name, "2026-01-01T00:00:00+00:00", {"CPUs": "2"}, **setting),
        found or run(),
        Scrapes(),
        [],
        stopped=stopped,
    )


def test_the_figures_of_a_small_run() -> None:
    found = figures(run(), Steady(8.0, 0.97, 5.0, 0.2), cut_short=False)
    assert list(found) == list(FIGURES)
    counts = {
        "planned": 10,
        "sent": 10,
        "refused": 1,
        "answered": 8,
        "judged": 7,
        "drops": 1,
        "waiting": 0,
        "repeats_same_id": 1,
        "repeats_other_id": 0,
        "contradictions": 0,
        "dead_letters": 1,
        "failures": 0,
        "foreign": 0,
        "offered_per_s": 1.0,
        "spared_share": 0.25,
        "busy_share": 0.97,
        "steady_per_s": 5.0,
        "engine_s_per_post": 0.2,
        "late_p99_ms": 2.0,
    }
    assert {name: found[name] for name in counts} == counts
    assert found["max_ms"] == pytest.approx(76, abs=1)
    assert 70 <= (found["p50_ms"] or 0) <= 76


def test_answers_a_second_count_from_the_first_arrival_to_the_last_answer() -> None:
    found = ledger(2)
    for number in range(2):
        found.add(verdict(found, number), read_ms=arrived_ms(found, 0) + 4_000)
    assert figures(found, None, cut_short=False)["answered_per_s"] == 0.5


def test_a_run_of_which_nothing_came_back_has_figures_too() -> None:
    found = figures(ledger(3, sent=0), None, cut_short=True)
    assert (found["sent"], found["answered_per_s"], found["p99_ms"]) == (0, None, None)


def test_what_was_waiting_when_a_run_was_cut_short_is_no_drop() -> None:
    found = system(stopped="interrupted")
    assert (found["figures"]["drops"], found["figures"]["waiting"], found["failed"]) == (None, 1, [])


@pytest.mark.parametrize("figure", ["drops", "refused", "contradictions"])
def test_a_drop_a_refusal_and_an_id_on_two_topics_fail_every_run(figure: str) -> None:
    none = {"drops": 0, "refused": 0, "contradictions": 0}
    assert failed(none, [], cut_short=False) == []
    assert failed(none | {figure: 1}, [], cut_short=False) == [f"{figure}>0"]


def test_a_run_of_which_nothing_could_be_sent_fails() -> None:
    found = ledger(2)
    for number in range(2):
        found.note_refused(number, "UNKNOWN_TOPIC_OR_PART")
    whole = system(found)
    assert whole["failed"] == ["refused>0"]
    assert report.troubles(whole)[0] == "refused: 2 posts (UNKNOWN_TOPIC_OR_PART 2)"


def test_a_run_of_which_nothing_was_judged_fails_and_says_what_came_instead() -> None:
    found = ledger(3)
    for number in range(2):
        found.add(verdict(found, number, failure={"code": "timed_out"}), read_ms=arrived_ms(found, number))
    found.add(dead_letter(found, 2), read_ms=arrived_ms(found, 2))
    whole = system(found)
    assert whole["failed"] == ["judged<1"]
    assert "3 of 3 posts answered, 0 drops, 2 failed, 1 dead letters, " in report.closing_line(
        report.document([whole])
    )
    assert report.troubles(whole)[:2] == [
        "not scored: 2 posts (timed_out 2); the failure mode decided, and the latencies have them too",
        "dead letters: 1; such posts can never be judged as they are",
    ]
    assert system(found, stopped="interrupted")["failed"] == []


def test_one_judged_post_is_enough_and_a_run_without_answers_has_its_drops_only() -> None:
    found = ledger(2)
    assert system(found)["failed"] == ["drops>0"]
    found.add(verdict(found, 0), read_ms=arrived_ms(found, 0))
    found.add(dead_letter(found, 1), read_ms=arrived_ms(found, 1))
    assert system(found)["failed"] == []


def test_clocks_that_differ_are_said_with_the_figure_that_does_not_depend_on_them() -> None:
    found = ledger(1)
    found.add(verdict(found, 0, decided_ms=5_060, stamped_ms=5_070), read_ms=arrived_ms(found, 0) + 75)
    page = report.markdown(report.document([system(found)]), {})
    assert "latency, topic, publish and read are off by that, `seen_p99_ms` is not." in page


@pytest.mark.parametrize(
    ("text", "found", "fails"),
    [
        ("p99_ms>500", 500.0, False),
        ("p99_ms > 500", 500.1, True),
        ("p99_ms>=500", 500.0, True),
        ("busy_share<0.95", 0.95, False),
        ("busy_share<=0.95", 0.95, True),
        ("busy_share<0.95", None, True),
    ],
)
def test_a_threshold_fails_a_run_as_it_is_written(text: str, found: float | None, fails: bool) -> None:
    threshold = parse_threshold(text)
    assert threshold.fails({threshold.figure: found}) is fails


def test_a_threshold_is_shown_as_it_was_meant() -> None:
    assert str(parse_threshold(" p95_ms  >= 12.50 ")) == "p95_ms>=12.5"
    assert parse_threshold("drops>0") == FailCondition("drops", ">", 0)


@pytest.mark.parametrize(
    "text", ["", "p99_ms", "p99_ms=5", "p99_ms>five", "p99_ms>500 or so", ">5", "p99_ms>1e3"]
)
def test_what_is_no_threshold_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BenchError, match="'p99_ms>500'"):
        parse_threshold(text)


def test_a_threshold_on_a_figure_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(BenchError, match=r"no figure is called p98_ms; there are planned, .*p99_ms"):
        parse_threshold("p98_ms>5")


def test_a_document_survives_json_and_takes_further_systems() -> None:
    first = report.document([system(name="one")])
    again = report.systems_of(orjson.loads(orjson.dumps(first)))
    both = report.document([*again, system(name="two")])
    assert [one["name"] for one in both["systems"]] == ["one", "two"]
    assert report.systems_of(json.loads(json.dumps(both))) == both["systems"]


def test_a_report_from_before_refusals_had_reasons_stands_beside_others() -> None:
    earlier = system(name="before")
    del earlier["refusals"], earlier["figures"]["judged"]
    (read,) = report.systems_of(report.document([earlier]))
    both = report.document([read, system(name="after")])
    page = report.markdown(both, {})
    assert "| `judged` | – | 7 |" in page
    assert "- **before** refused: 1 posts (reasons not known)." in page
    assert "- **after** refused: 1 posts (TOPIC_AUTHORIZATION_FAILED 1)." in page
    assert report.closing_line(both).startswith("bench: before ")


@pytest.mark.parametrize(
    "earlier",
    [None, [], {}, {"format": 1}, {"format": 2, "systems": []}, {"format": 1, "systems": [{"name": "x"}]}],
)
def test_what_is_no_report_is_refused(earlier: object) -> None:
    with pytest.raises(BenchError, match="give its bench"):
        report.systems_of(earlier)


def test_the_page_has_a_column_for_each_system_and_says_what_failed() -> None:
    whole = report.document([system(name="one", note="commit abc"), system(name="two|b", remark="odd place")])
    page = report.markdown(whole, {"a.png": "what it shows"})
    assert "| figure | one | two\\|b | meaning |" in page
    assert "| `drops` | 1 | 1 |" in page
    assert "| `engine_s_per_post` | – | – |" in page
    assert "| `engine` | 30.0, 30.0/30.0/30.0 |" in page
    assert "- **one** failed: drops>0, refused>0." in page
    assert "- **two\\|b** odd place." in page
    assert "fake, simulated" in page
    assert "commit abc." in page
    assert "![what it shows](a.png)" in page
    widths = {line.count(" | ") for line in page.splitlines() if line.startswith("| `")}
    assert widths == {3}


def test_the_last_line_has_every_system_and_what_is_not_known_is_said() -> None:
    line = report.closing_line(
        report.document([system(name="one"), system(name="two", stopped="interrupted")])
    )
    assert line.startswith("bench: one (fake, simulated): 8 of 10 posts answered, 1 drops, 0 failed, ")
    assert "0 failed, 1 dead letters, 1 repeats, " in line
    assert "; two (fake, simulated): 8 of 10 posts answered, 1 waiting, " in line
    assert line.count("ms, seen p99 100.") == 2  # read 100 ms after the arrival, as against 76 at most
    assert line.count("busy –, engine seconds per post –") == 2


@pytest.mark.parametrize("sent", [0, 3])
@pytest.mark.parametrize("alone", [True, False])
def test_the_plots_are_drawn_whatever_came_back(tmp_path: Path, sent: int, alone: bool) -> None:
    pytest.importorskip("matplotlib")
    nothing = system(ledger(3, sent=sent), name="none")
    whole = report.document([nothing] if alone else [system(name="costs $1 and $2"), nothing])
    report.draw(whole, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(report.PLOTS)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
