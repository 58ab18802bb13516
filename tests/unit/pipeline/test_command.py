"""The command line: help, examples, refusals and what is printed."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.command.post import bounded_lines, key_of
from sluicegate.pipeline.command.verdicts import human_line, json_line
from sluicegate.pipeline.trial.demo.run import DemoResult
from sluicegate.pipeline.trial.demo.tally import Balance, Snapshot
from sluicegate.schemas import Verdict, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def walk(node: Any, path: tuple[str, ...] = ("sluicegate",)) -> Iterator[tuple[str, Any]]:
    yield " ".join(path), node
    for name, child in getattr(node, "commands", {}).items():
        yield from walk(child, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(command.app)))


def test_the_promised_commands_are_there() -> None:
    promised = {
        "demo",
        "worker",
        "post",
        "verdicts",
        "topics plan",
        "topics create",
        "engine verify",
        "engine info",
        "engine fetch-cpu",
        "schema export",
    }
    assert {f"sluicegate {name}" for name in promised} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example_that_calls_it(name: str) -> None:
    text = COMMANDS[name].help or ""
    assert text.split("\n")[0].strip()
    example = text.partition("Example: ")[2]
    assert name in example


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_has_help(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


def run(*arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as users start it: a process of its own, with no settings of this shell's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "sluicegate", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=kept | environment,
    )


def test_a_fault_is_one_sentence_with_the_fix_and_exit_code_1() -> None:
    done = run("worker", SLUICEGATE_DRAIN__FINISH_S="200")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("sluicegate: ")
    assert done.stderr.count("\n") == 1
    assert "drain.budget_s" in done.stderr


@pytest.mark.parametrize(("file", "told"), [(None, "no space is left"), ("out/x", "out/x: no space is left")])
def test_a_full_disk_is_one_sentence(file: str | None, told: str) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", file)
    assert command._sentence(error).startswith(f"{told} to write; free some, and run the same command again")


def test_a_cluster_that_does_not_answer_is_one_sentence_too() -> None:
    done = run(
        *("post", "-"),
        given='{"id": "a", "text": "t"}',
        SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
        SLUICEGATE_KAFKA__DELIVERY_TIMEOUT_S="1",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("sluicegate: kafka.bootstrap_servers 127.0.0.1:1 cannot be reached")
    assert done.stderr.count("\n") == 1


def test_debug_shows_where_a_fault_came_from() -> None:
    done = run("--debug", "topics", "plan", "--settings", "/nowhere.yaml")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "SettingsError" in done.stderr


def test_an_unexpected_fault_is_told_by_its_type_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("text of a post")

    monkeypatch.setattr(command, "app", fail)
    monkeypatch.setattr(os, "_exit", sys.exit)  # another test may have loaded Kafka's client
    monkeypatch.setattr(sys, "argv", ["sluicegate"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert "text of a post" not in said


def test_ctrl_c_is_quiet_and_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sluicegate.pipeline.command.topics.plan_topics", interrupted)
    monkeypatch.setattr(sys, "argv", ["sluicegate", "topics", "plan"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_help_loads_no_kafka_client_no_engine_and_no_faust() -> None:
    code = (
        "import sys; from sluicegate.pipeline import command; "
        "print([name for name in ('confluent_kafka', 'faust', 'aiokafka', 'xllamacpp', 'torch', 'aiohttp') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_plan_for_machines_is_the_plan_for_people() -> None:
    shown = CliRunner().invoke(command.app, ["topics", "plan", "--partitions", "5"])
    document = json.loads(
        CliRunner().invoke(command.app, ["topics", "plan", "--partitions", "5", "--json"]).output
    )
    assert shown.exit_code == 0
    for topic in document["topics"]:
        assert topic["name"] in shown.output
    assert document["topics"][0]["partitions"] == 5
    assert document["topics"][0]["config"]["cleanup.policy"] == "delete"
    assert document["rights"].keys() == {"worker", "producer", "consumer"}


def test_a_bundle_that_is_none_is_refused_by_name_with_exit_code_1(tmp_path: Path) -> None:
    done = run("engine", "verify", str(tmp_path))
    assert done.returncode == 1
    assert "manifest.json" in done.stderr
    assert done.stderr.count("\n") == 1
    refused = run("engine", "verify", str(tmp_path), "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["ok"] is False


def test_schemas_are_exported_and_a_change_is_found(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(command.app, ["schema", "export", str(tmp_path)]).exit_code == 0
    assert runner.invoke(command.app, ["schema", "export", str(tmp_path), "--check"]).exit_code == 0
    (tmp_path / "json" / "post.json").write_text("{}")
    changed = runner.invoke(command.app, ["schema", "export", str(tmp_path), "--check"])
    assert changed.exit_code == 1
    assert "post.json" in changed.output


def test_the_demo_refuses_a_file_without_posts(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    for file in (empty, tmp_path / "missing.jsonl"):
        done = run("demo", "--posts", str(file))
        assert done.returncode == 1
        assert file.name in done.stderr


def test_a_demo_that_does_not_balance_names_what_is_missing_and_ends_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts: dict[str, Any] = {"verdicts": {"allow": 1, "review": 0, "block": 0}, "dead_letters": 0}
    balance = Balance(
        posts=2,
        failures={},
        lost=("sample\x1b[2J",),
        duplicated=(),
        unasked=(),
        latencies_ms=(),
        **counts,
    )
    log = tmp_path / "worker.log"

    async def run_demo(*_arguments: object) -> DemoResult:
        return DemoResult(Snapshot(2, 1.0, balance, 0.0, {}, ()), log)

    monkeypatch.setattr("sluicegate.pipeline.trial.demo.run.run_demo", run_demo)
    done = CliRunner().invoke(command.app, ["demo", "--engine", "fake"])
    assert done.exit_code == 1
    assert "lost: sample\\x1b[2J\n" in done.stderr
    assert str(log) in done.stderr
    assert done.stdout.endswith(f"{balance.closing_line()}\n")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"id": "a", "text": "t"}', b"a"),
        ('{"id": "ä"}'.encode(), "ä".encode()),
        (b'{"id": ""}', None),
        (b'{"id": 7}', None),
        (b'{"text": "t"}', None),
        (b'["id"]', None),
        (b"{", None),
        (b'{"id": "\\ud800"}', None),
    ],
)
def test_a_post_is_keyed_by_its_id_and_what_has_none_has_no_key(line: bytes, key: bytes | None) -> None:
    assert key_of(line) == key


def test_lines_are_bounded_and_one_that_is_too_long_costs_only_itself() -> None:
    stream = io.BytesIO(b"first\n\n" + b"x" * 25 + b"\nsecond\r\n" + b"y" * 10 + b"\nlast")
    assert list(bounded_lines(stream, 10)) == [b"first", None, b"second", b"y" * 10, b"last"]


def a_verdict(**changes: Any) -> Verdict:
    digest = "sha256:" + "0" * 64
    fields: dict[str, Any] = {
        "verdict_id": "v",
        "post_id": "p-1",
        "revision": 0,
        "tenant": "default",
        "kind": "post",
        "content_hash": digest,
        "action": "block",
        "disposition": "takedown",
        "severity": "unsafe",
        "scores": {"safe": 0.0, "controversial": 0.0, "unsafe": 1.0},
        "categories": ["Violent"],
        "assessed_by": "engine",
        "policy": {"name": "n", "version": "1", "digest": digest, "rule": "block_at.unsafe>=0.8"},
        "engine": {"digest": digest, "backend": "fake", "model": "m", "layout_digest": digest},
        "timings": {"queued_ms": 0.0, "engine_ms": 0.0, "total_ms": 0.0},
        "judged_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return Verdict.model_validate(fields | changes)


def test_a_verdict_is_one_readable_line() -> None:
    line = human_line(a_verdict())
    assert line.split("  ")[:2] == ["2026-01-02T03:04:05+00:00", "block"]
    for part in ("unsafe", "default", "p-1", "Violent", "block_at.unsafe>=0.8", "engine"):
        assert part in line


def test_a_verdict_line_acts_on_no_terminal_whatever_the_fields_hold() -> None:
    hostile = a_verdict(categories=["\x1b]0;title\x07", "two\nlines"])
    assert human_line(hostile).isprintable()
    document = encode(a_verdict(categories=["a\u009bK\u202e"]))
    assert json_line(document).isprintable()
    assert json.loads(json_line(document)) == json.loads(document)


def test_a_verdict_document_that_came_in_many_lines_goes_out_in_one() -> None:
    pretty = json.dumps(json.loads(encode(a_verdict())), indent=2).encode()
    assert "\n" not in json_line(pretty)
    assert json.loads(json_line(pretty)) == json.loads(pretty)
