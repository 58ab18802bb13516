"""The oldest Python: one number in every place, and a sentence for who has an older one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pythons import run
from sluicegate.pipeline import command

ROOT = Path(__file__).parents[2]


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    """The rule that makes the environment, where nothing but these Pythons is on PATH."""
    (folder / "bash").symlink_to("/bin/bash")
    program = shutil.which("make")
    assert program is not None
    given = [f"SHELL={folder / 'bash'}", "CODE=", "VENV=env", "env/bin/python"]
    return subprocess.run(
        [program, "-f", str(ROOT / "Makefile"), *given],
        cwd=folder,
        env={"PATH": str(folder), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_floor_is_one_number() -> None:
    floor = run.floor()
    assert run.number(floor) == command.FLOOR
    assert re.findall(r"^FLOOR := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE) == [floor]
    for page in ("README.md", "CONTRIBUTING.md", "Makefile"):
        assert f"Python {floor} or later" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("version", [(3, 11, 2), (3, 10, 13)])
def test_an_older_python_is_refused_at_the_start_with_one_sentence(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 1
    said = ".".join(map(str, version))
    assert capsys.readouterr().err == (
        f"sluicegate: Python 3.11.4 or later is needed, and this is {said}: "
        "install sluicegate in an environment of a later one\n"
    )


def test_make_passes_over_a_python_that_is_too_old(tmp_path: Path) -> None:
    program(tmp_path, "python3.11", "echo 3.11.2; exit 1")
    program(tmp_path, "python3", f'exec {sys.executable} "$@"')
    done = make(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "env" / "bin" / "python").exists()


def test_make_says_which_pythons_are_too_old(tmp_path: Path) -> None:
    program(tmp_path, "python3.11", "echo 3.11.2; exit 1")
    program(tmp_path, "python3", "echo 3.9.18; exit 1")
    done = make(tmp_path)
    assert done.returncode != 0
    assert (
        "make: Python 3.11.4 or later is needed, and python3.11 is 3.11.2, python3 is 3.9.18; "
        "try make PYTHON=/path/to/python\n"
    ) in done.stderr


def test_make_says_that_there_is_no_python(tmp_path: Path) -> None:
    assert "is needed, and none is on PATH; try make PYTHON=" in make(tmp_path).stderr


def test_each_version_is_found_once_and_what_does_not_run_is_passed_over(tmp_path: Path) -> None:
    first = program(tmp_path, "first", "echo 3.13.0")
    found = run.pythons(
        [
            program(tmp_path, "broken", "exit 1"),
            first,
            program(tmp_path, "second", "echo 3.13.0"),
            program(tmp_path, "older", "echo 3.9.18"),
        ]
    )
    assert found == {"3.9.18": tmp_path / "older", "3.13.0": first}


@pytest.mark.parametrize(
    ("version", "wanted", "reason"),
    [
        ("3.11.2", [], "older than the floor, 3.11.4"),
        ("3.11.4", [], None),
        ("3.13.0", ["3.12"], "not asked for"),
        ("3.13.0", ["3.13"], None),
        ("3.9.18", [], "not asked for"),
    ],
)
def test_versions_below_the_floor_are_named_and_left_out(
    version: str, wanted: list[str], reason: str | None
) -> None:
    assert run.left_out(version, "3.11.4", wanted) == reason
