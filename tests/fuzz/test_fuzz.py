"""Every stored input, a short run of new ones, and whether a broken promise would be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutations import SNIPPETS, json_like
from fuzz.run import closing_lines, fuzz, main
from fuzz.target import CORPUS, Target
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

_EXAMPLES = 150
STORED = [(name, file) for name, target in TARGETS.items() for file in target.corpus()]


@pytest.mark.parametrize(("name", "file"), STORED, ids=[f"{name}/{file}" for name, file in STORED])
def test_a_stored_input_keeps_the_promise(name: str, file: str) -> None:
    target = TARGETS[name]
    target.check(target.corpus()[file])


@pytest.mark.parametrize("name", TARGETS)
def test_new_inputs_keep_the_promise(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=_EXAMPLES,
        derandomize=True,  # the same each time: chance belongs into the long run
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def attempt(raw: bytes) -> None:
        target.check(raw)

    attempt()


def test_every_target_has_stored_inputs_and_every_stored_input_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    assert all(len(target.corpus()) >= 5 for target in TARGETS.values())


def refuse_escapes(raw: bytes) -> None:
    """A reader that falls over one character."""
    if b"\x1b" in raw:
        raise RuntimeError("a fault")


def test_a_broken_promise_is_found_made_small_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target("frail", json_like([{"a": ["b", 1]}]), refuse_escapes)
    steady = Target("steady", st.binary(), lambda _raw: None)
    tallies = fuzz([target, steady], seconds=20, corpus=tmp_path, until_broken=True)
    (kept,) = (tmp_path / "frail").iterdir()
    assert b"\x1b" in kept.read_bytes()
    assert len(kept.read_bytes()) <= max(len(one) for one in SNIPPETS if b"\x1b" in one) + 30
    assert "BROKEN frail: RuntimeError" in capsys.readouterr().out
    assert closing_lines(tallies).endswith(
        f"fuzz: 1 of 2 held, {sum(t.examples for t in tallies.values())} examples"
    )
    assert not (tmp_path / "steady").exists()


def test_the_long_run_ends_by_itself_and_says_what_it_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--seconds", "0", "--corpus", str(tmp_path), "explanations", "control"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["control", "explanations", "fuzz:"]
    assert told[-1].startswith("fuzz: 2 of 2 held, ")
    assert list(tmp_path.iterdir()) == []
