"""Which role may do what."""

from __future__ import annotations

from sluicegate.pipeline.review.rights import RIGHTS, Right, may


def test_only_reviewers_and_leads_decide_and_only_leads_lead() -> None:
    assert {role for role in RIGHTS if may(role, Right.DECIDE)} == {"reviewer", "lead"}
    assert {role for role in RIGHTS if may(role, Right.LEAD)} == {"lead"}


def test_who_runs_the_desk_sees_no_text_and_who_sees_texts_erases_none() -> None:
    assert all(not (may(role, Right.DECIDE) and may(role, Right.JOURNAL)) for role in RIGHTS)


def test_a_role_that_nobody_knows_may_do_nothing() -> None:
    assert not any(may("root", right) for right in Right)
