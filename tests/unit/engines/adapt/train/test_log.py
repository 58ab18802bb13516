from __future__ import annotations

import os
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.adapt.train.log import LOG, DevJudged, Log, by_language, read_log, summary
from sluicegate.engines.adapt.train.recipe import Optimiser, Stop, TrainingProgress, learning_rate

if TYPE_CHECKING:
    from pathlib import Path

JUDGED = [
    DevJudged("en", "safe", (0.8, 0.1, 0.1)),
    DevJudged("en", "safe", (0.3, 0.6, 0.1)),
    DevJudged("zh", "unsafe", (0.1, 0.2, 0.7)),
    DevJudged("zh", "controversial", (0.2, 0.5, 0.3)),
]


def test_macro_f1_is_the_mean_of_the_severities_f1() -> None:
    # safe: 1 of 2 found, none wrongly, 2/3; controversial: 1 of 1 found, one wrongly, 2/3; unsafe: 1.
    assert summary(JUDGED)["macro_f1"] == round((2 / 3 + 2 / 3 + 1) / 3, 4)


def test_a_severity_without_rows_is_no_part_of_the_mean() -> None:
    assert summary(JUDGED[:1])["macro_f1"] == 1


def test_the_summary_is_made_for_all_and_for_each_language() -> None:
    assert summary(JUDGED)["accuracy"] == 0.75
    assert by_language(JUDGED)["zh"]["accuracy"] == 1
    assert "auroc_safe" not in by_language(JUDGED)["zh"]


def test_the_rate_rises_over_the_warm_up_and_falls_as_a_cosine_to_the_end() -> None:
    optimiser = Optimiser(learning_rate=1e-3, warmup_share=0.1, final_share=0.1)
    rates = [learning_rate(step, 100, optimiser) for step in range(100)]
    assert rates[:10] == pytest.approx([1e-4 * (step + 1) for step in range(10)])
    assert rates[55] == pytest.approx(5.5e-4)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert learning_rate(100, 100, optimiser) == pytest.approx(1e-4)


def test_progress_counts_the_measurements_since_the_best() -> None:
    done = TrainingProgress(rows=10).measured(0.5).measured(0.4).measured(0.5)
    assert (done.best, done.best_rows, done.strikes) == (0.5, 10, 2)
    assert done.measured(0.6).strikes == 0


def test_entries_after_the_checkpoint_and_a_line_cut_off_are_dropped(tmp_path: Path) -> None:
    log = Log(tmp_path / LOG, from_step=0)
    for step in (1, 2, 3):
        log.add("step", step, rows=16 * step)
    with (tmp_path / LOG).open("ab") as stream:
        stream.write(b'{"what": "st')
    Log(tmp_path / LOG, from_step=2).add("dev", 2, macro_f1=0.5)
    assert [(entry["what"], entry["step"]) for entry in read_log(tmp_path / LOG)] == [
        ("step", 1),
        ("step", 2),
        ("dev", 2),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard_once_and_the_next_one_acts_as_usual(number: signal.Signals) -> None:
    stop = Stop()
    before = signal.getsignal(number)
    with stop.on_signals():
        quiet = stop.reason
        os.kill(os.getpid(), number)
        assert (quiet, stop.reason) == (None, number.name)
        assert signal.getsignal(number) == before


def test_a_sitting_ends_when_its_minutes_are_over() -> None:
    assert Stop(0).reason == "time is up"
    assert Stop(60).reason is None
