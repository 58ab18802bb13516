"""The pages on shared patterns against the code: their numbers, fields and commands are its own."""

from __future__ import annotations

import re

from docs.pages import text
from sluicegate.pipeline.command.patterns import app
from sluicegate.pipeline.patterns.matcher import UNCONFIRMED_MOST
from sluicegate.pipeline.patterns.noise import EPSILON
from sluicegate.pipeline.patterns.pattern import LEAST_VALUES, LIFE_DAYS, MOST_VALUES, Feed, Pattern
from sluicegate.pipeline.patterns.sketch import LEAST_PAIRS
from sluicegate.pipeline.patterns.standing import CONFIRMED_BY, REFUSED_BY

GUIDE, PRIVACY = text("patterns"), text("patterns-privacy")


def test_every_command_that_the_guide_names_is_one_and_all_are_named() -> None:
    named = set(re.findall(r"sluicegate patterns ([a-z]+)", GUIDE))
    assert named == {command.name for command in app.registered_commands}


def test_numbers_are_those_of_the_code() -> None:
    assert f"{UNCONFIRMED_MOST} posts an hour" in GUIDE
    assert f"people here found {CONFIRMED_BY} of its posts harmful" in GUIDE
    assert f"people here found {REFUSED_BY} of its posts safe" in GUIDE
    assert f"a pattern for {LIFE_DAYS} days" in GUIDE
    assert LEAST_PAIRS == 4
    assert "fewer than five words" in GUIDE
    assert f"{LEAST_VALUES} to {MOST_VALUES} numbers" in PRIVACY
    assert f"ε = {EPSILON}," in PRIVACY


def test_the_table_of_what_leaves_has_every_field() -> None:
    table = PRIVACY.partition("## What leaves")[2].partition("## What is done")[0]
    named = {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert named == Pattern.model_fields.keys()
    for field in ("member", "circle", "number", "licence", "k,", "revoked"):
        assert field in table
    assert len(Feed.model_fields) == 11  # all of them are in that row
