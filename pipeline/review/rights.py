"""Rights: what each role may do. Pure; whoever logs in has one role, and tenants."""

from __future__ import annotations

from enum import StrEnum


class Right(StrEnum):
    """Something that a person may do, or may not."""

    VIEW = "view"
    """See queues and cases."""
    DECIDE = "decide"
    """Take, answer and skip cases."""
    LEAD = "lead"
    """Decide between reviewers, reopen, make golden, lift a flood."""
    FIGURES = "figures"
    """See figures of people and of the model."""
    JOURNAL = "journal"
    """See who did what."""


RIGHTS: dict[str, frozenset[Right]] = {
    "reviewer": frozenset({Right.VIEW, Right.DECIDE}),
    "lead": frozenset({Right.VIEW, Right.DECIDE, Right.LEAD, Right.FIGURES}),
    "policy_editor": frozenset({Right.VIEW, Right.FIGURES}),
    "auditor": frozenset({Right.VIEW, Right.FIGURES, Right.JOURNAL}),
    "administrator": frozenset({Right.FIGURES, Right.JOURNAL}),
}
"""By role. Who runs the desk sees no text by that."""


def may(role: str, right: Right) -> bool:
    """Whether a role has a right. A role that is not known has none."""
    return right in RIGHTS.get(role, frozenset())
