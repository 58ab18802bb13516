"""How commands show progress: counts, bars, and what a log gets of them."""

from __future__ import annotations

import pytest

from sluicegate.pipeline.command.options import pace_line, progress


def test_a_pace_tells_rate_and_what_is_left() -> None:
    assert (
        pace_line("scoring", 300, 1300, fresh=200, seconds=20) == "scoring 300 of 1,300, 10.0/s, 2 min left"
    )
    assert pace_line("scoring", 10, 20, fresh=10, seconds=1) == "scoring 10 of 20, 10.0/s, 1 s left"
    assert pace_line("scoring", 1, 100_001, fresh=1, seconds=1) == "scoring 1 of 100,001, 1.0/s, 27.8 h left"
    assert pace_line("scoring", 20, 20, fresh=0, seconds=5) == "scoring 20 of 20"


class Stream:
    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.written = ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(("terminal", "lines"), [(False, 10), (True, 1)])
def test_a_log_gets_a_line_now_and_then_and_a_terminal_one_line(terminal: bool, lines: int) -> None:
    now = 0.0
    stream = Stream(terminal=terminal)
    with progress(stream, clock=lambda: now) as advance:  # type: ignore[arg-type]
        for done in range(101):
            now = float(done)
            advance("scoring", done, 100)
    assert stream.written.count("\n") == lines
    assert "scoring 50 of 100, 1.0/s, 50 s left" in stream.written
    cursor_is_back = "\x1b[?25h"
    assert stream.written.removesuffix(cursor_is_back).rstrip().endswith("scoring 100 of 100, 1.0/s")


def test_a_stage_that_comes_again_begins_again() -> None:
    now, stream = 0.0, Stream(terminal=True)
    with progress(stream, clock=lambda: now) as advance:  # type: ignore[arg-type]
        for stage in ("scoring", "[/explaining]", "scoring"):
            for done in range(11):
                now += 1.0
                advance(stage, done, 10)
    assert stream.written.count("scoring 10 of 10, 1.0/s") >= 2
    assert "[/explaining] 10 of 10, 1.0/s" in stream.written


def bars(total: int | None, *, terminal: bool) -> str:
    """What is shown of four steps, a second each."""
    now, stream = 0.0, Stream(terminal=terminal)
    with progress(stream, counts=False, clock=lambda: now) as advance:  # type: ignore[arg-type]
        for done in range(1, 5):
            now = float(done)
            advance("posting", done, total)
    return stream.written


@pytest.mark.parametrize("total", [4, None])
def test_bars_vanish_from_a_terminal_and_a_log_gets_none(total: int | None) -> None:
    assert bars(total, terminal=False) == ""
    shown = bars(total, terminal=True)
    assert "posting" in shown
    assert ("100%" in shown) is (total is not None)
    assert shown.endswith("\x1b[2K")  # the line is empty again
