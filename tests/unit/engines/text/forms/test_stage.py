"""Patterns for hostile texts: matching must not hold the interpreter's lock for long."""

from __future__ import annotations

import re

import pytest

from sluicegate.engines.text.forms.invisible import _marks
from sluicegate.engines.text.forms.letters import _styled
from sluicegate.engines.text.forms.stage import one_of


def test_a_class_is_written_in_ranges_and_has_the_same_characters() -> None:
    codes = [0x61, 0x63, 0x1D401, 0x1D400, 0x1D402, 0x10FFFF]
    pattern = one_of(codes)
    assert pattern == "[a-ac-c\U0001d400-\U0001d402\U0010ffff-\U0010ffff]"
    every = "".join(chr(code) for code in (*range(0xD800), *range(0xE000, 0x110000)))
    assert re.findall(pattern, every) == [chr(code) for code in sorted(codes)]


@pytest.mark.parametrize("pattern", [_styled()[0], _marks()[1]])
def test_classes_beyond_the_basic_plane_have_few_entries(pattern: re.Pattern[str]) -> None:
    """Each of them is compared with every character of a text: a thousand took most of a second."""
    beyond = [one for one in pattern.pattern if ord(one) > 0xFFFF]
    assert 0 < len(beyond) < 300
