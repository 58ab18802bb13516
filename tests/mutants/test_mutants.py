"""The list is as the code is, and the runner tells a noticed mutant from one that nobody notices."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mutants.catalogue import MUTANTS
from mutants.mutant import ROOT
from mutants.run import main

if TYPE_CHECKING:
    from mutants.mutant import Mutant

NAMES = {
    name
    for path in (ROOT / "tests").rglob("*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def test_there_are_enough_mutants_and_each_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(MUTANTS) >= 25


@pytest.mark.parametrize("mutant", MUTANTS, ids=list(BY_NAME))
def test_what_a_mutant_removes_stands_in_the_code_once(mutant: Mutant) -> None:
    assert mutant.stands() == 1, f"{mutant.name}: bring its text up to date with {mutant.file}"
    assert mutant.text != mutant.instead
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file()
        assert name.rpartition("::")[2] in NAMES, f"{mutant.name}: there is no test {name}"


def test_a_mutant_that_the_tests_notice_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "stale_acknowledgement"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "mutants: 1 of 1 caught"


def test_a_mutant_that_nobody_notices_and_a_stale_one_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    mutant = BY_NAME["stale_acknowledgement"]
    harmless = replace(mutant, name="harmless", instead=f"{mutant.text}  # the same")
    stale = replace(mutant, name="stale", text="no such line")
    broken = replace(mutant, name="broken", instead="if (")
    assert main(["--count", "0"], [harmless, stale, broken]) == 1
    told = capsys.readouterr().out.splitlines()
    assert "SURVIVED" in told[1]
    assert mutant.why in told[1]
    assert "STALE: its text stands 0 times" in told[2]
    assert "ERROR: pytest ended with" in told[3]
    assert told[-1] == "mutants: 0 of 3 caught"


def test_tests_that_fail_without_a_mutant_are_no_judges(capsys: pytest.CaptureFixture[str]) -> None:
    mutant = replace(
        BY_NAME["stale_acknowledgement"], tests=("tests/unit/pipeline/flow/test_window.py::test_no_such",)
    )
    assert main(["--count", "0"], [mutant]) == 1
    assert "the tests fail without any mutant" in capsys.readouterr().err
