"""What the workers' metrics come to, counted by hand."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.trial.bench import figures as module
from sluicegate.pipeline.trial.bench.figures import Scrape, Scrapes, Steady, read_metrics


def text(busy_s: float, answered: int) -> str:
    return (
        f"# TYPE sluicegate_engine_busy_seconds gauge\nsluicegate_engine_busy_seconds {busy_s}\n"
        "# TYPE sluicegate_verdicts counter\n"
        f'sluicegate_verdicts_total{{tenant="default",action="allow",assessed_by="engine"}} {answered - 1}\n'
        "# TYPE sluicegate_dead_letters counter\n"
        'sluicegate_dead_letters_total{code="oversize"} 1\n'
    )


def test_a_worker_says_what_is_looked_for() -> None:
    metrics = Metrics()
    metrics.busy_seconds.set(2.5)
    metrics.verdicts.labels("default", "allow", "engine").inc(3)
    metrics.dead_letters.labels("oversize").inc()
    assert read_metrics(generate_latest(metrics.registry).decode()) == (2.5, 4)


def test_a_saturated_worker_spends_all_its_time_on_the_posts_answered() -> None:
    scrapes = Scrapes()
    for at_s in range(11):  # 20 posts a second, the engine busy from the first second on
        scrapes.add(at_s, [text(max(0.0, at_s - 0.5), 1 + 20 * at_s)])
    # From second 1 to second 10: busy for 9 of 9 seconds, 180 posts.
    assert scrapes.steady(10) == Steady(9, 1.0, 20.0, 0.05)


def test_two_workers_are_two_engines() -> None:
    scrapes = Scrapes()
    for at_s in (2, 8):
        scrapes.add(at_s, [text(at_s, 1 + 10 * at_s), text(at_s * 0.95, 1 + 5 * at_s)])
    steady = scrapes.steady(8)
    assert steady is not None
    assert steady.busy_share == pytest.approx(0.975)  # of 12 engine seconds 11.7
    assert steady.engine_s_per_post == pytest.approx(12 / 90)


def test_an_engine_that_waits_gives_no_engine_seconds_per_post() -> None:
    scrapes = Scrapes()
    for at_s in (1, 5):
        scrapes.add(at_s, [text(at_s * 0.75, 1 + at_s)])
    assert scrapes.steady(5) == Steady(4, 0.75, 1.0, None)


def test_the_beginning_and_what_comes_after_the_last_post_do_not_count() -> None:
    scrapes = Scrapes()
    for at_s, busy_s in ((0, 0), (1, 0), (10, 9), (60, 9)):
        scrapes.add(at_s, [text(busy_s, 1 + 10 * at_s)])
    assert scrapes.steady(10) == Steady(9, 1.0, 10.0, 0.1)


def test_without_two_scrapes_or_with_a_worker_that_started_anew_nothing_is_said() -> None:
    scrapes = Scrapes()
    assert scrapes.steady(10) is None
    scrapes.add(2, [text(2, 50)])
    assert scrapes.steady(10) is None
    scrapes.add(3, [text(0.5, 10)])
    assert scrapes.steady(10) is None


@pytest.mark.parametrize("most", [1_024, 24])
def test_a_worker_that_started_anew_hides_neither_behind_another_nor_where_scrapes_are_left_out(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_SCRAPES", most)
    scrapes = Scrapes()
    for at_s in range(33):
        own = at_s if at_s < 21 else at_s - 21  # second 21 is left out where few are kept
        scrapes.add(at_s, [text(own, 1 + own), text(2 * at_s, 1 + 50 * at_s)])
    assert scrapes.steady(20) is not None
    assert scrapes.steady(32) is None


@pytest.mark.parametrize("answer", ["", "<html>", "sluicegate_engine_busy_seconds x\n", "\0"])
def test_a_worker_that_does_not_answer_is_counted_and_nothing_is_kept(answer: str) -> None:
    scrapes = Scrapes()
    scrapes.add(1, [text(1, 1), answer])
    assert (scrapes.missed, scrapes.kept) == (1, [])


def test_a_long_run_keeps_a_bounded_number_over_its_whole_length() -> None:
    scrapes = Scrapes()
    for at_s in range(4_000):
        scrapes.add(at_s, [text(at_s, 1)])
    assert 256 <= len(scrapes.kept) <= 1_024
    assert scrapes.kept[0] == Scrape(0, 1, 0, 1)
    assert scrapes.kept[-1].at_s > 3_900
