"""The README against what stands in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sluicegate.engines.cpu_model import shipped
from sluicegate.schemas import Verdict

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_verdict_shown_is_one_that_consumers_of_this_version_can_read() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    verdict = Verdict.model_validate_json(shown)
    assert f"verdicts.{verdict.action.value}" in README
    assert set(re.findall(r'^  "(\w+)"', shown, re.MULTILINE)) <= set(Verdict.model_fields)


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "CHANGELOG.md"])
def test_every_relative_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_make_targets_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake (demo|test|check|help|install|fmt|clean|schemas)\b", README))
    assert {"demo", "test"} <= named <= targets


def test_the_pages_say_whether_an_adapter_ships() -> None:
    ships = (shipped.adapter_folder() / "manifest.json").is_file()
    assert ("**not adapted**" in README) is not ships
    for page, words in {
        "adapt-evaluate.md": "None ships yet",
        "faq.md": "without an adapter for moderation",
        "long-posts.md": "The CPU model is not adapted yet",
    }.items():
        text = " ".join((ROOT / "docs" / page).read_text(encoding="utf-8").split())
        assert (words in text) is not ships, page


def test_every_page_can_be_reached_from_here() -> None:
    unseen = {path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in README}
    assert unseen == set()
