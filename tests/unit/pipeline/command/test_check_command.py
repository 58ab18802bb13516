"""How ``sluicegate check`` shows what was found."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from sluicegate.pipeline import command
from sluicegate.pipeline.kafka.check import Result, fault, ok, unknown

BROKEN = fault("policy", "p.yaml:3: \x1b[31mrules\u202e is wrong", "sluicegate policy check p.yaml")
SOUND = [ok("broker", "one"), unknown("rights", "they could not be asked")]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """What the diagnosis will say."""
    results = list(SOUND)
    monkeypatch.setattr("sluicegate.pipeline.command.check._results", lambda _path, **_options: results)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return results


def test_what_could_not_be_asked_is_no_fault(found: list[Result]) -> None:
    shown = CliRunner().invoke(command.app, ["check"])
    assert shown.exit_code == 0
    assert shown.output.splitlines()[-1] == "all is in place, as far as could be asked"


def test_a_fault_is_exit_code_1_and_stands_above_its_command(found: list[Result]) -> None:
    found.append(BROKEN)
    shown = CliRunner().invoke(command.app, ["check"])
    lines = shown.output.splitlines()
    assert shown.exit_code == 1
    assert lines[-3].startswith("FAULT  policy")
    assert lines[-2].strip() == "fix: sluicegate policy check p.yaml"
    assert lines[-1] == "1 fault"


def test_foreign_text_does_not_act_on_the_terminal(found: list[Result]) -> None:
    found.append(BROKEN)
    for arguments in (["check"], ["check", "--json"]):
        shown = CliRunner().invoke(command.app, arguments).output
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_the_document_has_every_result_with_its_fix(found: list[Result]) -> None:
    found.append(BROKEN)
    document = json.loads(CliRunner().invoke(command.app, ["check", "--json"]).output)
    assert document["ok"] is False
    assert [one["state"] for one in document["results"]] == ["ok", "unknown", "fault"]
    assert document["results"][-1] == {
        "subject": "policy",
        "state": "fault",
        "detail": BROKEN.detail,
        "fix": BROKEN.fix,
    }


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(
    found: list[Result], monkeypatch: pytest.MonkeyPatch, no_color: str | None, coloured: bool
) -> None:
    found.append(BROKEN)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    shown = CliRunner().invoke(command.app, ["check"], color=True).output
    assert ("\x1b[31m" in shown) is coloured
