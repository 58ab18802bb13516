"""`sluicegate post`: every line that did not reach the topic is counted, and the first are named."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
from typer.testing import CliRunner

from sluicegate.pipeline.command import app
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import TopicSettings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


LINES = (
    b'{"id": "1", "text": "one"}',
    b"",
    b"no JSON",
    b'{"text": "no id"}',
    b'{"id": "2", "text": "' + b"x" * 1_000_000 + b'"}',
    b'{"id": "3", "text": "' + b"x" * 999_970 + b'"}',  # a line that is short enough for a record that is not
    b'{"id": "4", "text": "four"}',
)


async def posted(
    lines: tuple[bytes, ...], folder: Path, *options: str, topic: str = TopicSettings().posts
) -> Any:
    file = folder / "posts.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    async with EmbeddedBroker([topic]) as broker:
        runner = CliRunner(env={"SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": broker.address})
        return await asyncio.to_thread(runner.invoke, app, ["post", str(file), *options])


async def test_lines_that_did_not_reach_the_topic_are_named(tmp_path: Path) -> None:
    result = await posted(LINES, tmp_path)
    assert result.exit_code == 1
    assert result.stdout == "2 sent to posts, 3 refused, 1 failed\n"
    assert sorted(result.stderr.splitlines()) == [
        "line 3: no JSON object with an id, which must be a string",
        "line 4: no JSON object with an id, which must be a string",
        "line 5: longer than 1,000,000 bytes",
        "line 6: MSG_SIZE_TOO_LARGE",
    ]


async def test_a_program_gets_the_same_lines(tmp_path: Path) -> None:
    told = orjson.loads((await posted(LINES[:3], tmp_path, "--json")).stdout)
    assert told == {
        "sent": 1,
        "refused": 1,
        "failed": 0,
        "troubles": [{"line": 3, "reason": "no JSON object with an id, which must be a string"}],
    }


async def test_of_many_lines_the_first_are_named_and_all_are_counted(tmp_path: Path) -> None:
    result = await posted((b"no JSON",) * 50, tmp_path)
    assert result.stdout == "0 sent to posts, 50 refused, 0 failed\n"
    assert result.stderr.splitlines()[-1] == "and 30 more lines"
    assert len(result.stderr.splitlines()) == 21


async def test_a_topic_that_is_missing_is_told_before_a_line_is_read(tmp_path: Path) -> None:
    result = await posted(LINES, tmp_path, topic="other")
    assert isinstance(result.exception, ClusterError)
    assert "sluicegate topics create" in str(result.exception)


def test_a_line_that_nobody_answers_for_is_named_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = SimpleNamespace(
        partitions=lambda **_: {TopicSettings().posts: 1},
        put=lambda *_, **__: None,
        poll=lambda: None,
        flush=lambda: 1,
    )
    monkeypatch.setattr("sluicegate.pipeline.command.post.Producer", lambda *_, **__: silent)
    file = tmp_path / "posts.jsonl"
    file.write_bytes(LINES[0] + b"\n")
    result = CliRunner().invoke(app, ["post", str(file)])
    assert (result.exit_code, result.stdout) == (1, "0 sent to posts, 0 refused, 1 failed\n")
    assert result.stderr == "line 1: no answer from the brokers in time\n"
