"""``sluicegate judge``: the verdict that a worker would publish, shown to a person or a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.client.renderings import RenderedFinding, from_chinese, from_lines
from sluicegate.schemas import Action, Verdict
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from pathlib import Path

BLOCKING = """\
name: everything-is-blocked
version: "1"
rules:
  block_at: {unsafe: 0.0}
  review_at: {unsafe: null, risk: null}
  dispositions: {allow: none, review: warn, block: takedown}
"""


def judge(*arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as users start it, with no settings of this shell's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "sluicegate", "judge", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=kept | environment,
    )


def verdict(*arguments: str, given: str = "", **environment: str) -> Verdict:
    done = judge(*arguments, "--engine", "fake", "--json", given=given, **environment)
    assert done.returncode == 0, done.stderr
    return Verdict.model_validate_json(done.stdout)


async def test_the_verdict_is_the_one_that_a_worker_would_publish() -> None:
    post = {"id": "judge", "text": "a text of some kind", "region": "DE", "tenant": "school"}
    bench = Bench()
    await bench.run([post])
    published = bench.outlet.verdict("judge")
    judged = verdict(post["text"], "--region", "DE", "--tenant", "school")
    same = {"verdict_id", "action", "disposition", "scores", "content_hash", "policy", "engine", "categories"}
    assert judged.model_dump(include=same) == published.model_dump(include=same)


def test_the_policy_decides(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(BLOCKING)
    before, after = verdict("a plain text"), verdict("a plain text", "--policy", str(path))
    assert before.scores == after.scores
    assert (before.action, after.action) == (Action.ALLOW, Action.BLOCK)
    assert after.policy.name == "everything-is-blocked"


def test_kind_context_and_standard_input() -> None:
    response = verdict("-", "--kind", "response", "--context", "how?", given="I will not say.\n")
    assert response.kind == "response"
    assert response.refusal in (True, False)
    assert response.content_hash != verdict("-", "--kind", "response", given="I will not say.").content_hash
    assert verdict("I will not say.").refusal is None


@pytest.mark.parametrize(("form", "parse"), [("lines", from_lines), ("zh", from_chinese)])
@pytest.mark.parametrize("kind", ["post", "response"])
def test_both_renderings_say_what_the_json_says(form: str, parse: object, kind: str) -> None:
    shown = judge("a text", "--engine", "fake", "--kind", kind, "--format", form)
    assert shown.returncode == 0
    rendering, _, facts = shown.stdout.partition("\n\n")
    assert callable(parse)
    judged = verdict("a text", "--kind", kind)
    assert parse(rendering) == RenderedFinding.of(judged)
    assert f"action:       {judged.action.value} ({judged.disposition})" in facts


def test_the_fake_engine_says_that_it_finds_nothing_and_program_output_stays_clean() -> None:
    done = judge("a text", "--engine", "fake", "--json")
    assert "judges by a hash" in done.stderr
    assert done.stdout.count("\n") == 1
    assert "\x1b" not in done.stdout + done.stderr


def test_a_text_that_could_not_be_scored_is_exit_code_1_and_never_safe(tmp_path: Path) -> None:
    faults, profile, settings = tmp_path / "faults.json", tmp_path / "fake.json", tmp_path / "settings.yaml"
    faults.write_text(json.dumps({"error": {"marker": "poison"}}))
    profile.write_text(json.dumps({"faults_file": str(faults)}))
    settings.write_text(json.dumps({"engine": {"backend": "fake", "fake_profile": str(profile)}}))
    done = judge("a poisoned poison", "--settings", str(settings))
    assert done.returncode == 1
    assert done.stdout.startswith("Safety: Not judged\n")
    assert "scores:       none: engine_error" in done.stdout
    assert "action:       review" in done.stdout
    assert judge("a text", "--settings", str(settings)).returncode == 0


def test_a_long_text_says_which_part_decided(tmp_path: Path) -> None:
    profile = tmp_path / "fake.json"
    profile.write_text(json.dumps({"max_prompt_tokens": 600, "rules": {"attack": "unsafe"}}))
    text = "A calm sentence, and another. " * 60 + "They attack at dawn."
    done = judge("-", "--engine", "fake", given=text, SLUICEGATE_ENGINE__FAKE_PROFILE=str(profile))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Safety: Unsafe\n")
    ((count, deciding),) = re.findall(r"segments: +(\d+), of which number (\d+) decided", done.stdout)
    assert int(count) > 2
    assert count == deciding


def test_a_disguised_text_says_which_rules_undid_it(tmp_path: Path) -> None:
    profile = tmp_path / "fake.json"
    profile.write_text(json.dumps({"rules": {"attack": "unsafe", "att4ck": "safe"}}))
    path = {"SLUICEGATE_ENGINE__FAKE_PROFILE": str(profile)}
    assert "form:         folded: leet\n" in judge("they att4ck at dawn", "--engine", "fake", **path).stdout
    assert "form:" not in judge("they attack at dawn", "--engine", "fake", **path).stdout


def test_an_explanation_that_began_with_harm_is_told_beside_the_severity(tmp_path: Path) -> None:
    profile, policy = tmp_path / "fake.json", tmp_path / "policy.yaml"
    profile.write_text(json.dumps({"rules": {"x": "safe"}}))
    bars = "rules: {explain_at: 0, categories: {PII: {review_at: {risk: 0}}}}"
    policy.write_text(f"name: p\nversion: '1'\n{bars}\n")
    done = judge(
        "x", "--engine", "fake", "--policy", str(policy), SLUICEGATE_ENGINE__FAKE_PROFILE=str(profile)
    )
    assert done.stdout.startswith("Safety: Safe\nCategories: ")
    assert "a category could change what follows" in done.stdout


def test_an_engine_that_is_away_is_one_sentence_at_once(tmp_path: Path) -> None:
    faults, profile = tmp_path / "faults.json", tmp_path / "fake.json"
    faults.write_text(json.dumps({"die": True}))
    profile.write_text(json.dumps({"faults_file": str(faults)}))
    done = judge("a text", "--engine", "fake", SLUICEGATE_ENGINE__FAKE_PROFILE=str(profile))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sluicegate: the engine answers no request")
    assert done.stderr.count("\n") == 1


@pytest.mark.cpu_model
def test_the_cpu_model_judges_without_a_broker(cpu_bundle: Path) -> None:
    done = judge("you are all invited", "--json", SLUICEGATE_ENGINE__BUNDLE=str(cpu_bundle))
    assert done.returncode == 0, done.stderr
    judged = Verdict.model_validate_json(done.stdout)
    assert judged.engine.backend == "llama_cpp"
    assert judged.severity is not None
