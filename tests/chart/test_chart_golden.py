"""A change of a template shows in the renders that were accepted, or it changes nothing."""

from __future__ import annotations

import pytest

from chart import golden

pytestmark = pytest.mark.helm


@pytest.mark.parametrize("name", golden.READ)
def test_the_render_is_as_it_was_accepted(name: str) -> None:
    refresh = (
        "if it is meant, run `PYTHONPATH=tests .venv/bin/python -m chart.golden` and review the difference"
    )
    assert golden.made(name) == golden.accepted(name), refresh


def test_no_render_is_left_of_a_file_that_is_gone() -> None:
    assert {path.stem for path in golden.FOLDER.iterdir()} == set(golden.READ)
