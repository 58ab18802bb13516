from __future__ import annotations

import errno
import io
import logging
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

from sluicegate.pipeline.observe import logs
from sluicegate.pipeline.observe.logs import DroppedLines, configure_logs, frames

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def test_every_line_is_json_and_a_traceback_has_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("debug")
    try:
        raise ValueError("the text of a post")
    except ValueError:
        structlog.get_logger("ours").exception("it_broke", post_id="p1")
        logging.getLogger("theirs").exception("it broke there")
    lines = [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["it_broke", "it broke there"]
    assert all("ValueError at test_logs.py" in line["exception"] for line in lines)
    assert "the text of a post" not in str(lines)


def test_a_value_is_bounded_and_cannot_start_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    structlog.get_logger("ours").info("odd", post_id='a\n{"event":"forged"}', long="x" * 10_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert orjson.loads(line)["event"] == "odd"
    assert len(line) < 3_000


def test_libraries_stay_at_info(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("debug")
    logging.getLogger("faust.streams").debug("a whole message")
    logging.getLogger("asyncio").debug("a task with its locals")
    assert capsys.readouterr().err == ""


def test_a_group_of_exceptions_is_told_by_its_parts() -> None:
    told = frames(ExceptionGroup("text", [ValueError("text"), KeyError("text")]))
    assert "ValueError" in told
    assert "KeyError" in told
    assert "text" not in told.replace("context", "")


class Disk(io.RawIOBase):
    """A file that takes so many bytes and then is full, until it is given more room."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int | None:
        taken = bytes(data)[: self.room_bytes]
        if not taken:
            raise OSError(errno.ENOSPC, "no space")
        self.room_bytes -= len(taken)
        self.content += taken
        return len(taken)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> DroppedLines:
    counted = DroppedLines()
    monkeypatch.setattr(logs, "DROPPED", counted)
    return counted


def onto(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python opens it: through a buffer that must not be used.
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BufferedWriter(disk)))
    configure_logs("info")


def shown(counted: DroppedLines) -> list[float]:
    told: list[float] = []
    counted.shown_by(told.append)
    return told


def test_a_line_that_cannot_be_written_is_dropped_and_counted(
    count: DroppedLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(0)
    onto(disk, monkeypatch)
    structlog.get_logger("ours").error("one")
    told = shown(count)
    logging.getLogger("theirs").error("two")
    disk.room_bytes = 1000
    structlog.get_logger("ours").error("three")
    assert told == [1, 1]  # what was dropped before anybody looked, and one more
    (line,) = disk.content.splitlines()
    assert orjson.loads(line)["event"] == "three"


def test_what_a_full_disk_cut_short_does_not_spoil_the_next_line(
    count: DroppedLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(20)
    onto(disk, monkeypatch)
    structlog.get_logger("ours").error("one")
    disk.room_bytes = 1000
    structlog.get_logger("ours").error("two")
    structlog.get_logger("ours").error("three")
    torn, *lines = disk.content.splitlines()
    assert len(torn) == 20
    assert [orjson.loads(line)["event"] for line in lines] == ["two", "three"]
    assert shown(count) == [1]


def test_a_write_that_takes_a_part_is_continued(count: DroppedLines, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Disk):
        def write(self, data: ReadableBuffer) -> int | None:
            return super().write(bytes(data)[:7])

    disk = Slow(1000)
    onto(disk, monkeypatch)
    structlog.get_logger("ours").error("one")
    assert orjson.loads(disk.content)["event"] == "one"
    assert shown(count) == [0]


def test_a_pipe_that_takes_no_more_drops_the_line(
    count: DroppedLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullPipe(Disk):
        def write(self, data: ReadableBuffer) -> int | None:
            return None

    onto(FullPipe(0), monkeypatch)
    structlog.get_logger("ours").error("one")
    assert shown(count) == [1]


def test_a_record_that_cannot_be_told_raises_nothing_and_tells_nothing(
    count: DroppedLines, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("info")
    logging.getLogger("theirs").info("%d", "the text of a post")
    assert capsys.readouterr().err == ""
    assert shown(count) == [1]
