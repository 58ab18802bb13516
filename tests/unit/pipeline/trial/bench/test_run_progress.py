"""Progress: lines in a log, one moving line on a terminal."""

from __future__ import annotations

import io

from sluicegate.pipeline.trial.bench.run import RunProgress
from unit.pipeline.trial.bench.records import arrived_ms, ledger, verdict


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_five_seconds_and_the_last_one() -> None:
    now, stream, found = [0.0], io.StringIO(), ledger(10, sent=4)
    found.add(verdict(found, 0), read_ms=arrived_ms(found, 0) + 75)
    progress = RunProgress(stream, lambda: now[0])
    progress.begin()
    for second in range(1, 13):
        now[0] = float(second)
        progress.show(found)
    progress.show(found, final=True)
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["5", "10", "12"]
    assert "sent 4 of 10  answered 1  p50/p95/p99 70/70/70 ms" in lines[0]


def test_a_terminal_has_one_line_that_is_written_over_and_stands_below_a_sentence() -> None:
    now, stream = [0.0], Terminal()
    with RunProgress(stream, lambda: now[0]) as progress:
        for half_second in range(1, 5):
            now[0] = half_second / 2
            progress.show(ledger(10))
        progress.say("done")
    assert stream.getvalue().count("\r") > 4
    over, after = stream.getvalue().split("\r\x1b[2Kdone\n")
    assert "\n" not in over
    assert after.removesuffix("\x1b[?25h").endswith("ms\n")
    assert after.count("\n") == 1


def test_without_an_answer_no_latency_is_made_up() -> None:
    stream = io.StringIO()
    RunProgress(stream).show(ledger(3, sent=0), final=True)
    assert "sent 0 of 3  answered 0  p50/p95/p99 –/–/– ms" in stream.getvalue()
