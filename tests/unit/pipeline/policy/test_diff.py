"""What another policy would have changed, counted from verdicts."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.command.policy_case import table
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.diff import Diff
from sluicegate.schemas import Verdict
from support.events import verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence


def policy(**rules: Any) -> Policy:
    return Policy.parse({"name": "p", "version": "1", "rules": rules})


OLD = policy()
NUMBERS = count()


def verdict(unsafe: float | None = None, categories: Sequence[str] = (), **fields: Any) -> Verdict:
    found: dict[str, Any] = {"failure": {"code": "timed_out", "mode": "review"}, "assessed_by": "none"}
    if unsafe is not None:
        scores = {"safe": 1 - unsafe, "controversial": 0.0, "unsafe": unsafe}
        found = {"scores": scores, "assessed_by": "engine"}
    digest = f"sha256:{'0' * 64}"
    document = {
        "verdict_id": f"v{next(NUMBERS)}",
        "post_id": "the post's own id",
        "revision": 0,
        "tenant": "default",
        "kind": "post",
        "content_hash": digest,
        "action": "allow",
        "disposition": "none",
        "severity": None if unsafe is None else "safe",
        "categories": categories,
        "policy": {"name": "p", "version": "1", "digest": OLD.digest, "rule": "r"},
        "engine": {"digest": digest, "backend": "fake", "model": "fake", "layout_digest": digest},
        "timings": {"queued_ms": 0, "engine_ms": 0, "total_ms": 0},
        "judged_at": "2026-01-01T00:00:00Z",
        **found,
        **fields,
    }
    return Verdict.model_validate_json(json.dumps(document))


def diff(new: Policy, *given: Verdict, old: Policy = OLD) -> Diff:
    found = Diff(old, new)
    for one in given:
        found.add(one)
    return found


def test_changes_are_counted_by_direction_tenant_and_category() -> None:
    new = policy(block_at={"unsafe": 0.6}, review_at={"unsafe": 0.3, "risk": None})
    found = diff(
        new,
        verdict(0.1),
        verdict(0.35, ["PII"]),
        verdict(0.35, ["PII", "Violent"], tenant="b"),
        verdict(0.7),
        verdict(0.9),
    )
    assert found.directions == {"allow -> review": 2, "review -> block": 1}
    assert (found.verdicts, found.unchanged, found.stricter, found.milder) == (5, 2, 3, 0)
    assert found.tenants == {
        "default": {"allow -> review": 1, "review -> block": 1},
        "b": {"allow -> review": 1},
    }
    assert found.categories == {
        "PII": {"allow -> review": 2},
        "Violent": {"allow -> review": 1},
        "(none)": {"review -> block": 1},
    }


def test_a_milder_policy_and_a_disposition_are_told_apart() -> None:
    milder = policy(block_at={"unsafe": 0.95}, dispositions={"review": {"name": "limit_reach", "share": 0.5}})
    found = diff(milder, verdict(0.9, ["PII"]), verdict(0.5, ["PII"]))
    assert (found.milder, found.stricter, found.disposition_only) == (1, 0, 1)


def test_a_failure_is_decided_by_each_policys_failure_mode() -> None:
    assert diff(policy(failure_mode="block"), verdict()).directions == {"review -> block": 1}


def test_the_category_decides_where_it_is_known_and_is_not_guessed_where_it_is_not() -> None:
    new = policy(categories={"PII": {"block_at": {"unsafe": 0.2}}})
    known, unknown, safe = verdict(0.25, ["PII"], explained_as="unsafe"), verdict(0.25), verdict(0.1)
    found = diff(new, known, unknown, safe)
    assert found.directions == {"allow -> block": 1}
    assert (found.undecidable, found.unchanged) == (1, 1)


def test_an_explanation_that_began_with_safe_tells_no_category_to_either_policy() -> None:
    new = policy(categories={"PII": {"block_at": {"unsafe": 0.2}}})
    scores = {"None": 1.0}
    began = [
        verdict(0.25, category_scores=scores, explained_as="safe"),
        verdict(0.25, category_scores=scores),  # of before, when it always began with the severity
    ]
    assert diff(new, *began).undecidable == 2
    assert diff(OLD, *began, old=new).undecidable == 2
    assert diff(OLD, *began).unchanged == 2


def test_an_explanation_that_failed_is_decided_by_both_policies_as_a_worker_would() -> None:
    new = policy(categories={"PII": {"block_at": {"unsafe": 0.2}}})
    failed = verdict(0.35, explanation_failure="timed_out")
    assert diff(new, failed).directions == {"review -> block": 1}  # the failure mode, and the category's bar


def test_an_explanation_of_before_verdicts_said_what_it_began_with_counts_by_its_severity() -> None:
    bars: dict[str, Any] = {"block_at": {"unsafe": 0.9}}
    new = policy(**bars, categories={"Violent": {"block_at": {"unsafe": 0.5}}})
    named = verdict(0.6, ["PII"], severity="unsafe")
    assert diff(new, named, old=policy(**bars)).unchanged == 1
    assert diff(new, verdict(0.6, severity="unsafe"), old=policy(**bars)).undecidable == 1  # it names nothing


def test_what_only_the_new_policy_explains_is_no_failure() -> None:
    assert diff(policy(explain_at=0.1), verdict(0.2)).unchanged == 1


def test_verdicts_of_another_policy_are_counted_and_decided_by_the_old_one_all_the_same() -> None:
    stranger = verdict(0.9, ["PII"], action="allow", policy={"name": "q", "version": "1", "digest": f"sha256:{'1' * 64}", "rule": "r"})  # fmt: skip
    found = diff(OLD, stranger)
    assert (found.decided_by_others, found.decided_by_namesakes, found.unchanged) == (1, 0, 1)


def test_a_verdict_that_came_again_counts_once() -> None:
    new = policy(block_at={"unsafe": 0.5})
    first, second = verdict(0.6, ["PII"]), verdict(0.6, ["PII"])
    later = first.model_copy(update={"judged_at": second.judged_at.replace(year=2027)})
    found = diff(new, first, second, first, later, second)
    assert (found.verdicts, found.repeats, found.document()["repeats"]) == (2, 3, 3)
    assert found.directions == {"review -> block": 2}
    assert [one.verdict_id for one in found.examples["review -> block"]] == [
        first.verdict_id,
        second.verdict_id,
    ]
    assert "3 more came again with an id that was counted" in "\n".join(table(found))
    assert "came again" not in "\n".join(table(diff(new, first, second)))


def test_two_policies_that_differ_and_share_name_and_version_are_told_of() -> None:
    new = policy(failure_mode="block")
    found = diff(new)
    assert found.namesakes
    assert found.document()["namesakes"]
    assert "differ, and both are p 1: give the new one a version of its own" in "\n".join(table(found))
    raised = Policy.parse({"name": "p", "version": "2", "rules": {"failure_mode": "block"}})
    for other in (OLD, policy(), raised):
        assert not diff(other).namesakes
        assert "both are" not in "\n".join(table(diff(other)))


def test_verdicts_of_another_file_with_the_old_ones_name_and_version_are_told_of() -> None:
    by_another = verdict(
        0.1, policy={"name": "p", "version": "1", "digest": f"sha256:{'1' * 64}", "rule": "r"}
    )
    found = diff(OLD, by_another, verdict(0.1))
    assert (found.decided_by_others, found.decided_by_namesakes) == (1, 1)
    assert found.document()["decided_by_namesakes"] == 1
    assert "1 of these by one with the same name and version" in "\n".join(table(found))


def test_examples_are_few_and_hold_neither_text_nor_the_posts_id() -> None:
    found = diff(
        policy(block_at={"unsafe": 0.5}),
        *(verdict(0.6, ["PII"], verdict_id=f"v{number}") for number in range(9)),
    )
    document = json.dumps(found.document())
    assert [one["verdict_id"] for one in json.loads(document)["examples"]["review -> block"]] == [
        "v0",
        "v1",
        "v2",
    ]
    assert "the post's own id" not in document


@given(given=st.lists(verdicts, max_size=5), strict=st.sampled_from(["strict", "balanced", "loose"]))
def test_every_verdict_is_counted_once_and_no_policy_differs_from_itself(
    given: list[Verdict], strict: str
) -> None:
    found = diff(policy(preset=strict), *given)
    different = len({one.verdict_id for one in given})
    assert (found.verdicts, found.repeats) == (different, len(given) - different)
    counted = found.unchanged + found.disposition_only + found.undecidable + found.directions.total()
    assert counted == different
    assert found.stricter + found.milder == found.directions.total()
    assert sum(counts.total() for counts in found.tenants.values()) == found.directions.total()
    itself = diff(OLD, *given)
    assert itself.unchanged == different


@pytest.mark.parametrize(
    ("old", "new", "way"), [("strict", "loose", "milder"), ("loose", "strict", "stricter")]
)
def test_a_preset_that_is_milder_throughout_changes_in_one_direction(old: str, new: str, way: str) -> None:
    given = [verdict(number / 20, ["PII"]) for number in range(21)]
    found = diff(policy(preset=new), *given, old=policy(preset=old))
    other = "stricter" if way == "milder" else "milder"
    assert getattr(found, way) > 0
    assert getattr(found, other) == 0
