from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

from sluicegate.pipeline.logs import configure_logs, frames

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


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
