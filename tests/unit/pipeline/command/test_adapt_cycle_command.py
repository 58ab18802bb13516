"""``sluicegate adapt cycle``, ``trace`` and ``data erase``: exit codes, what is read of the topic, and what is no ledger."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import orjson
import pytest
from typer.testing import CliRunner, Result

from sluicegate.engines.adapt.cycle.cycle import Cycle
from sluicegate.engines.adapt.errors import CycleError, InterruptedStepError
from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.adapt import cycle as command
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.schemas import Feedback, Post, encode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def plan_in(folder: Path) -> Path:
    path = folder / "cycle.yaml"
    path.write_text("core: [core.jsonl]\nrecipe: recipe.yaml\n")
    return path


def feedback(**fields: object) -> bytes:
    document = {
        "verdict_id": "v",
        "post": Post(id="p", text="a kettle", kind="post"),
        "severity": "safe",
        "blind": True,
        "reviewed_at": "2026-11-02T08:00:00Z",
    }
    record = orjson.loads(encode(Feedback.model_validate(document)))
    return orjson.dumps({**record, **fields})


class Reader:
    """A topic as a reader gives it; one that nobody leads gives nothing and has no end."""

    values: Iterable[bytes | None] = ()
    is_led = True

    def __init__(self, *_: object, **__: object) -> None:
        self._left = [*self.values]
        self.looked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def at_end(self) -> bool:
        return self.is_led and not self._left

    def read(self, _timeout_s: float) -> list[TopicRecord]:
        values, self._left = self._left, []
        return [TopicRecord("feedback", 0, number, None, value) for number, value in enumerate(values)]

    def look(self, *, within_s: float) -> None:
        raise ClusterError(f"nobody leads a partition of it; asked for {within_s:g} s")


@pytest.mark.parametrize(
    "error", [ClusterError("the brokers do not answer"), InterruptedStepError("ended by SIGKILL")]
)
def test_what_passes_by_itself_is_told_apart_by_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Cycle, "run", away)
    result = run("adapt", "cycle", plan_in(tmp_path), "--ledger", tmp_path / "ledger")
    assert result.exit_code == os.EX_TEMPFAIL == 75
    assert str(error) in result.output


def test_what_a_person_has_to_mend_stays_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object, **__: object) -> None:
        raise CycleError("mend it")

    monkeypatch.setattr(Cycle, "run", failed)
    result = run("adapt", "cycle", plan_in(tmp_path), "--ledger", tmp_path / "ledger")
    assert (result.exit_code, str(result.exception)) == (1, "mend it")


def test_records_of_another_major_version_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [feedback(), feedback(schema_version="2.0"), b"{", None, feedback(verdict_id="w")]
    monkeypatch.setattr(Reader, "values", values)
    monkeypatch.setattr(command, "TopicReader", Reader)
    assert [one.verdict_id for one in command._from_topic(None)] == ["v", "w"]
    assert "3 records of feedback are no feedback of schema version 1" in capsys.readouterr().err


def test_a_partition_that_nobody_leads_is_an_error_and_no_endless_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Reader, "is_led", False)
    monkeypatch.setattr(command, "TopicReader", Reader)
    with pytest.raises(ClusterError, match="nobody leads"):
        list(command._from_topic(None))


def test_a_file_with_a_record_of_another_major_version_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_bytes(feedback() + b"\n" + feedback(schema_version="2.0") + b"\n")
    with pytest.raises(CycleError, match=r"feedback.jsonl:2 is no Feedback record of schema version 1"):
        list(command._from_files([path]))


@pytest.mark.parametrize("given", [("data", "erase", "--author", "4711"), ("trace", "nonsense")])
def test_a_folder_that_is_no_ledger_is_refused_and_left_as_it_is(
    tmp_path: Path, given: tuple[str, ...]
) -> None:
    assert "is no ledger of a cycle" in str(run(*given, "--ledger", tmp_path).exception)
    assert [*tmp_path.iterdir()] == []
