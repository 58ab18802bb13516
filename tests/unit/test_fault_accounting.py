"""What the fault suite's figures rest on, itself tested."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from faults.history import History
from faults.ledger import Ledger
from faults.outcome import judge_outcome
from faults.scenario import SCENARIOS, scenario
from support.collector import Record, Sent

if TYPE_CHECKING:
    from pathlib import Path

    from faults.stage import Stage

SENT = [Sent("posts", 0, 0, "post-0"), Sent("posts", 0, 1, "post-1")]


def verdict(number: int, action: str = "allow", *, name: str = "", failure: str | None = None) -> Record:
    verdict_id = str(UUID(int=(number + 1) << 64 | len(name) << 80))
    body = {
        "post_id": f"post-{number}",
        "verdict_id": verdict_id,
        "action": action,
        "tenant": "default",
        "revision": 0,
        "failure": failure and {"code": failure, "mode": action},
    }
    return Record(f"verdicts.{action}", 0, 0, f"post-{number}".encode(), body)


def dead(number: int) -> Record:
    origin = {"topic": "posts", "partition": 0, "offset": number}
    body = {"dead_letter_id": f"dead-{number}", "origin": origin}
    return Record("posts.deadletter", 0, 0, f"post-{number}".encode(), body)


def balanced(*records: Record) -> tuple[Any, Any]:
    """The same records through both ways of accounting."""
    ledger = Ledger()
    for one in SENT:
        ledger.accept(one)
    for record in records:
        ledger.answer(record.key or b"", record.body)
    return judge_outcome(SENT, records), ledger.totals()


def test_everything_answered_once_is_kept() -> None:
    outcome, totals = balanced(verdict(0), verdict(1, "block"))
    assert outcome.kept
    assert (outcome.posts, outcome.verdicts, outcome.repeats) == (2, 2, 0)
    assert (totals.posts, totals.verdicts, totals.answered, totals.lost, totals.wrong) == (2, 2, 2, 0, 0)


def test_a_post_without_an_answer_is_lost() -> None:
    outcome, totals = balanced(verdict(0))
    assert not outcome.kept
    assert outcome.lost == totals.lost == 1


def test_a_dead_letter_is_an_answer() -> None:
    outcome, totals = balanced(verdict(0), dead(1))
    assert outcome.dead_letters == totals.dead_letters == 1
    assert outcome.lost == totals.lost == 0


def test_a_repeat_with_the_same_id_is_counted_and_nothing_worse() -> None:
    outcome, totals = balanced(verdict(0), verdict(0), verdict(1))
    assert outcome.kept
    assert outcome.repeats == 1
    assert (totals.repeats_same_id, totals.repeats_other_id, totals.wrong) == (1, 0, 0)


def test_a_repeat_with_another_id_is_told_apart() -> None:
    outcome, totals = balanced(verdict(0), verdict(0, name="x"), verdict(1))
    assert outcome.repeats == 1
    assert (totals.repeats_same_id, totals.repeats_other_id) == (0, 1)


def test_two_actions_for_one_post_are_wrong() -> None:
    outcome, totals = balanced(verdict(0), verdict(0, "block", name="x"), verdict(1))
    assert outcome.wrong == totals.wrong == 1
    assert not outcome.kept
    assert judge_outcome(SENT, [verdict(0), verdict(0, "block", name="x"), verdict(1)], one_action=False).kept


def test_two_actions_under_one_id_are_wrong_always() -> None:
    records = [verdict(0), verdict(0, "block"), verdict(1)]
    assert judge_outcome(SENT, records, one_action=False).wrong == 1


def test_a_failure_that_became_an_allow_is_wrong_unless_the_tenant_fails_open() -> None:
    records = [verdict(0, failure="timed_out"), verdict(1, "review", failure="timed_out")]
    outcome, totals = balanced(*records)
    assert outcome.wrong == totals.wrong == 1
    assert judge_outcome(SENT, records, open_tenants={"default"}).kept


def test_an_answer_nobody_asked_for_is_noted() -> None:
    assert judge_outcome(SENT, [verdict(0), verdict(1), verdict(2)]).notes == {"unasked": 1}


def test_a_ledger_takes_answers_before_it_hears_of_the_post() -> None:
    ledger = Ledger()
    ledger.answer(b"post-1", verdict(1).body)
    ledger.accept(SENT[1])
    assert (ledger.totals().posts, ledger.totals().lost) == (1, 0)


def test_a_history_is_lines_in_order_with_their_time(tmp_path: Path) -> None:
    history = History(tmp_path / "below" / "history.jsonl")
    history.note("begin", seed=3)
    history.note("kill", worker="worker-1")
    lines = [json.loads(line) for line in history.path.read_text().splitlines()]
    assert [line["what"] for line in lines] == ["begin", "kill"]
    assert lines[0]["seed"] == 3
    assert 0 <= lines[0]["at"] <= lines[1]["at"]


def test_two_scenarios_of_one_name_are_refused() -> None:
    before = list(SCENARIOS)

    def act(stage: Stage) -> None:
        """Do nothing."""

    try:
        scenario(number=99, name="twin")(act)
        with pytest.raises(ValueError, match="two scenarios are called twin"):
            scenario(number=99, name="twin")(act)
    finally:
        SCENARIOS[:] = before
