"""docs/engine.md against what it speaks of. Its commands need a GPU, and were not run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from gpu import checks
from gpu.shapes import EXPECTED
from sluicegate.engines.build.commands import IMAGE
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8").partition("## The day with a GPU")[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
(COMMANDS,) = (
    block.splitlines() for block in re.findall(r"^```sh[^\n]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
)


def test_there_are_three_commands_and_the_target_is_there() -> None:
    enter, accept, judge = COMMANDS
    assert enter.endswith(IMAGE)
    target, variable = accept.removeprefix("make ").split()
    assert re.search(rf"^{target}: ##", MAKEFILE, re.MULTILINE)
    assert f"$({variable.partition('=')[0]})" in MAKEFILE
    assert ".venv-gpu/bin/sluicegate judge" in judge


def test_the_third_command_names_the_bundle_that_the_second_one_builds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for word in shlex.split(COMMANDS[2]):
        name, found, value = word.partition("=")
        if found:
            monkeypatch.setenv(name, value)
    engine = load_settings().engine
    assert engine.backend == "tensorrt_llm"
    assert engine.bundle == Path("gpu-acceptance/guard")
    assert '"guard", checkpoint=' in (ROOT / "tests/gpu/conftest.py").read_text(encoding="utf-8")


def test_every_line_says_on_which_card_it_was_run() -> None:
    rows = re.findall(r"^\| (?!step|---)(.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 12
    for step, _, run_on in rows:
        assert re.match(r"not yet run|NVIDIA \w+", run_on), step


def test_the_bounds_are_those_of_the_checks() -> None:
    (before, (own,)), (before_response, own_response) = EXPECTED.values()
    assert (
        f"{before} and {own}; for responses {before_response} and {' or '.join(map(str, own_response))}"
        in PAGE
    )
    assert f"at least {checks.LEAST_MASS} on each" in PAGE
    assert f"under {checks.MOST_FLIPS:.0%}".replace("%", " %") in PAGE
    assert f"{checks.SLOWER} to {checks.FASTER:.0f} times" in PAGE
    assert f"less than {checks.MOST_GROWTH_MIB:.0f} MiB" in PAGE
    assert f"within {checks.PUBLISHED_POINTS:.0f} point" in PAGE
    for name in checks.PUBLISHED:
        assert f"`{name}.jsonl`" in PAGE


def test_the_variables_are_those_of_the_tests() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/gpu").glob("*.py"))
    named = set(re.findall(r"ACCEPTANCE_[A-Z_]+", PAGE))
    assert len(named) == 2
    assert all(name in sources for name in named)
