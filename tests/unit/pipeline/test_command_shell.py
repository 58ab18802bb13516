"""What the command owes to shells and terminals: completion, and no colours where none are wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
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
