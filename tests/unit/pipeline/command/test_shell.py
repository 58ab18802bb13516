"""What the command owes to shells and terminals: completion, and no colours where none are wanted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sluicegate.pipeline import command

ROOT = Path(__file__).parents[4]
PROGRAM = Path(sys.executable).with_name("sluicegate")  # completion goes by the installed program's name


def run(*arguments: str, **environment: str) -> str:
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **environment},
    ).stdout


def complete(*words: str) -> list[str]:
    """What bash would be offered for the last word."""
    return run(
        _SLUICEGATE_COMPLETE="complete_bash", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1)
    ).split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(shell: str) -> None:
    script = run(_SLUICEGATE_COMPLETE=f"source_{shell}")
    assert "_SLUICEGATE_COMPLETE" in script
    assert "sluicegate" in script


def test_show_completion_prints_the_script_of_the_shell_that_asks() -> None:
    asked = subprocess.run(
        ["bash", "-c", f"{PROGRAM} --show-completion bash; exit"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "complete -o default -F _sluicegate_completion sluicegate" in asked


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sluicegate", "ju"), ["judge"]),
        (("sluicegate", "settings", "s"), ["show"]),
        (("sluicegate", "judge", "x", "--eng"), ["--engine"]),
        (("sluicegate", "judge", "x", "--format", "z"), ["zh"]),
    ],
)
def test_commands_options_and_choices_are_completed(words: tuple[str, ...], offered: list[str]) -> None:
    assert complete(*words) == offered


@pytest.mark.parametrize("arguments", [("--help",), ("judge", "--help"), ("settings", "show")])
def test_no_color_means_no_colours_even_where_they_are_forced(arguments: tuple[str, ...]) -> None:
    shown = run(*arguments, NO_COLOR="1", FORCE_COLOR="1")
    assert "\x1b[3" not in shown


def commands_named_in(text: str) -> set[tuple[str, ...]]:
    """The words after the program's name, in code within a line or at the beginning of one."""
    named = re.findall(
        r"(?:^|`)sluicegate((?: +[a-z][a-z-]+)+)", text.replace("\n", " ") + text, re.MULTILINE
    )
    return {tuple(words.split()) for words in named}


@pytest.mark.parametrize(
    "page", sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")]), ids=lambda page: page.name
)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    unknown = []
    for words in commands_named_in(page.read_text(encoding="utf-8")):
        node: Any = typer.main.get_command(command.app)
        for word in words:
            children = getattr(node, "commands", {})
            if not children:
                break  # the rest are arguments
            node = children.get(word)
            if node is None:
                unknown.append(" ".join(words))
                break
    assert unknown == []


def test_a_command_that_does_not_exist_is_seen_in_a_page() -> None:
    assert commands_named_in("run `sluicegate policy\nfrobnicate`") == {
        ("policy",),
        ("policy", "frobnicate"),
    }
