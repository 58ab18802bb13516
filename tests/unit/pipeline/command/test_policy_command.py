"""``sluicegate policy``: what people and machines read, exit codes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sluicegate.pipeline.command import app
from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import Policy

GOLDEN = Path(__file__).parents[3] / "golden" / "v1.0" / "verdict"
SCORES = '{"scores": {"safe": 0.1, "controversial": 0.0, "unsafe": 0.9}}'


def run(*arguments: str | Path, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["policy", *map(str, arguments)], input=given)


def policy_file(folder: Path, name: str = "policy.yaml", *, text: str = "") -> Path:
    path = folder / name
    path.write_text(f"name: p\nversion: '1'\n{text}")
    return path


def refusal(result: Result) -> str:
    """The sentence of a fault; a traceback is none."""
    assert isinstance(result.exception, PolicyError)
    return str(result.exception)


@pytest.mark.parametrize("name", ["starter", "social_network", "bank_adviser", "school_platform", "default"])
def test_new_writes_a_policy_that_is_in_order(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new.yaml"
    assert run("new", path, "--from", name).exit_code == 0
    assert run("check", path).exit_code == 0
    shown = run("new", "--from", name)
    assert shown.stdout == path.read_text()


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    path = policy_file(tmp_path)
    assert "is there already" in refusal(run("new", path))
    assert path.read_text() == "name: p\nversion: '1'\n"
    assert "cannot be written" in refusal(run("new", tmp_path / "no" / "such" / "folder.yaml"))


def test_check_says_that_a_policy_is_in_order(tmp_path: Path) -> None:
    path = policy_file(tmp_path, text="tenants: {b: {}, a: {rules: {explain_at: 0}}}\n")
    result = run("check", path)
    assert result.exit_code == 0
    assert "p 1 is in order; tenants with rules of their own: a;" in result.stdout
    document = json.loads(run("check", path, "--json").stdout)
    assert document == {
        "ok": True,
        "file": str(path),
        "name": "p",
        "version": "1",
        "digest": Policy.load(path).digest,
        "tenants": ["a"],
        "engines": [],
        "notes": [
            {
                "line": None,
                "place": "failure_mode (built-in)",
                "said": "a post whose explanation fails is `review` at least; it was an allow where its scores were one",
            }
        ],
    }
    assert (
        "note: failure_mode (built-in): a post whose explanation fails is `review` at least" in result.stdout
    )


def test_check_lists_every_fault_and_exits_with_1(tmp_path: Path) -> None:
    path = policy_file(tmp_path, text="rule: {}\nrules: {explain_at: 7}\n")
    result = run("check", path)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{path}:3: rule: is unknown here; did you mean `rules`?",
        f"{path}:4: rules.explain_at: `7` cannot be used; write a number from 0 to 1, such as 0.8",
    ]
    result = run("check", path, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["ok"], [fault["line"] for fault in document["faults"]]) == (False, [3, 4])
    assert document["faults"][0] == {
        "line": 3,
        "place": "rule",
        "wrong": "is unknown here",
        "right": "did you mean `rules`?",
    }


def test_check_of_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    result = run("check", tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
    assert not json.loads(run("check", tmp_path / "none.yaml", "--json").stdout)["ok"]


def explained(*arguments: str | Path, given: str | bytes | None = None) -> dict[str, Any]:
    result = run("explain", *arguments, "--json", given=given)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_explain_names_the_rule_of_an_assessment(tmp_path: Path) -> None:
    path = policy_file(tmp_path, text="tenants: {a: {rules: {block_at: {unsafe: 0.95}}}}\n")
    assert explained(path, "--assessment", SCORES)["rule"] == "block_at.unsafe>=0.8"
    other = explained(path, "--assessment", SCORES, "--tenant", "a")
    assert other["rule"] == "review_at.unsafe>=0.4"
    assert other["checks"][0] == {
        "rule": "block_at.unsafe",
        "threshold": 0.95,
        "value": 0.9,
        "fired": False,
        "said": "0.9 is below 0.95",
        "origin": {"place": "tenants.a.rules", "line": 3},
    }
    assert (
        "rule         block_at.unsafe>=0.8 (built-in)" in run("explain", path, "--assessment", SCORES).stdout
    )


@pytest.mark.parametrize("name", ["allowed", "blocked_with_everything", "could_not_be_scored"])
def test_explain_takes_a_whole_verdict_from_standard_input(tmp_path: Path, name: str) -> None:
    verdict = (GOLDEN / f"{name}.json").read_bytes()
    account = explained(policy_file(tmp_path), "--assessment", "-", given=verdict)
    assert account["action"] in ("allow", "review", "block")
    assert (account["rule"] == "failure_mode") == (name == "could_not_be_scored")


@pytest.mark.parametrize(
    ("more", "rule", "said"),
    [
        ({"categories": ["PII"]}, "categories.PII.block_at.unsafe>=0.3", "made to begin with unsafe"),
        ({}, "otherwise", "made to begin with unsafe"),  # taken as explained in the way that is asked for
        (
            {"explained_as": "safe"},
            "categories.PII.block_at.unsafe>=0.3",
            "began with safe, which says nothing",
        ),
        (
            {"explanation_failure": "timed_out"},
            "categories.PII.block_at.unsafe>=0.3",
            "it failed (timed_out)",
        ),
    ],
)
def test_explain_says_what_follows_from_an_explanation_and_from_its_want(
    tmp_path: Path, more: dict[str, Any], rule: str, said: str
) -> None:
    path = policy_file(tmp_path, text="rules: {categories: {PII: {block_at: {unsafe: 0.3}}}}\n")
    given = json.dumps({"scores": {"safe": 0.65, "controversial": 0.0, "unsafe": 0.35}} | more)
    account = explained(path, "--assessment", given)
    assert account["rule"] == rule
    assert said in account["explanation"]


def test_explain_names_the_failure_mode_where_it_decides_for_want_of_an_explanation(tmp_path: Path) -> None:
    path = policy_file(tmp_path, text="rules:\n  failure_mode: block\n")
    given = (
        '{"scores": {"safe": 0.65, "controversial": 0.0, "unsafe": 0.35}, "explanation_failure": "timed_out"}'
    )
    account = explained(path, "--assessment", given)
    assert (account["action"], account["rule"]) == ("block", "failure_mode")
    assert account["origin"] == {"place": "rules", "line": 4}


def test_explain_judges_a_text_with_the_fake_engine(tmp_path: Path) -> None:
    account = explained(
        policy_file(tmp_path), "--post", "you are all invited", "--engine", "fake", "--kind", "response"
    )
    assert account["explanation"].startswith("asked for: this is a response")
    again = explained(
        policy_file(tmp_path), "--post", "you are all invited", "--engine", "fake", "--kind", "response"
    )
    assert account == again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--assessment", "{"), "an example is {"),
        (("--assessment", "{}"), "give `scores`, or a `failure`"),
        (("--assessment", '{"scores": {"safe": 1, "controversial": 1, "unsafe": 1}}'), "must sum to 1"),
        (("--post", "x", "--engine", "fake", "--tenant", "../x"), "--tenant is not what it has to be"),
        (("--post", "", "--engine", "fake"), "--text is not what it has to be"),
    ],
)
def test_explain_refuses_what_is_no_assessment_and_no_post(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refusal(run("explain", policy_file(tmp_path), *arguments))


@pytest.mark.parametrize("command", ["explain", "diff"])
def test_one_source_has_to_be_given(tmp_path: Path, command: str) -> None:
    paths = [policy_file(tmp_path)] * (2 if command == "diff" else 1)
    assert run(command, *paths).exit_code == 2


def test_diff_shows_the_table_of_directions(tmp_path: Path) -> None:
    old = policy_file(tmp_path, "old.yaml")
    new = policy_file(tmp_path, "new.yaml", text="rules: {block_at: {unsafe: null}, failure_mode: block}\n")
    lines = [json.dumps(json.loads(path.read_text())) for path in sorted(GOLDEN.glob("*.json"))]
    given = "\n".join([*lines, "no verdict", ""])
    result = run("diff", old, new, "--verdicts", "-", given=given)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{len(lines)} verdicts: ")
    assert "by direction" in result.stdout
    assert "review -> block" in result.stdout
    assert "by tenant" in result.stdout
    assert "by category" in result.stdout
    assert "1 records are no verdicts" in result.stderr
    for line in lines:
        assert json.loads(line)["post_id"] not in result.stdout
    file = tmp_path / "verdicts.jsonl"
    file.write_text(given)
    document = json.loads(run("diff", old, new, "--verdicts", file, "--json").stdout)
    assert document["verdicts"] == len(lines)
    assert document["stricter"] == document["directions"]["review -> block"] > 0
    assert document["milder"] == document["directions"]["block -> review"] > 0
    assert "cannot be read" in refusal(run("diff", old, new, "--verdicts", tmp_path / "none"))


def test_diff_of_a_hostile_topic_prints_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    verdict = json.loads((GOLDEN / "could_not_be_scored.json").read_text())
    verdict |= {"verdict_id": "\x1b[2J\u202e", "categories": ["\x1b]0;x\x07"]}
    old, new = (
        policy_file(tmp_path, "o.yaml"),
        policy_file(tmp_path, "n.yaml", text="rules: {failure_mode: block}\n"),
    )
    for form in ([], ["--json"]):
        result = run("diff", old, new, "--verdicts", "-", *form, given=json.dumps(verdict))
        assert "review -> block" in result.stdout
        assert {"\x1b", "\x07", "\u202e"} & set(result.stdout) == set()
