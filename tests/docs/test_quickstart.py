"""docs/quickstart.md leads from a new policy to a verdict that a changed rule has changed."""

from __future__ import annotations

import pytest

from docs.pages import blocks, text


def test_the_page_leads_from_a_new_policy_to_a_changed_verdict() -> None:
    rest = iter(line for block in blocks("quickstart", "sh") for line in block.text.splitlines())
    for wanted in (
        "sluicegate policy new policy.yaml",
        "sluicegate demo --engine fake --limit 60 --policy policy.yaml",
        "sed ",
        "sluicegate judge ",
        "sluicegate demo --engine fake --limit 60 --policy policy.yaml",
    ):
        assert any(line.startswith(wanted) for line in rest), f"{wanted!r} is not there, or too early"


@pytest.mark.parametrize("page", ["quickstart", "operations"])
def test_topics_are_created_before_anything_is_checked(page: str) -> None:
    said = text(page)
    assert said.index("sluicegate topics create") < said.index("sluicegate check")
