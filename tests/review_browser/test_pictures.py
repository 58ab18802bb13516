"""Pictures of the main pages. With REVIEW_PICTURES they are those of the guide: docs/reviewing.md."""

from __future__ import annotations

import io
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from support.cases import HERON, MAGPIE, judged, post

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.chromium, pytest.mark.review_test, pytest.mark.timeout(240)]

SIZE = {"viewport": {"width": 1280, "height": 920}}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
"""From when on verdicts of tests are dated."""
COLOURS = 64
"""Flat pages need no more, and a picture is a fifth as large."""


def _keep(folder: Path, name: str, person: Any) -> None:
    taken = Image.open(io.BytesIO(person.page.screenshot()))
    assert taken.size == (1280, 920)
    # A page that was not painted has one colour.
    assert len(taken.convert("RGB").getcolors(maxcolors=2**24) or ()) > COLOURS
    taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        folder / f"{name}.png", optimize=True
    )


TEXTS = (
    ("en", "sample-1", "If he shows up at the next meeting, somebody should teach him a lesson."),
    ("de", "sample-2", "Wer so etwas schreibt, sollte sich warm anziehen."),
    ("zh", "sample-3", "你再这样说话，别怪我们不客气。"),
    ("fr", "sample-4", "On sait où tu habites, fais attention à toi."),
    ("en", "sample-5", "Cheap followers, write me, no questions asked."),
    ("en", "sample-6", "Nobody needs people like you in this town."),
)


def test_pictures_of_the_main_pages(desk: Callable[..., Any], tmp_path: Path) -> None:
    folder = Path(os.environ.get("REVIEW_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    with desk() as (sits, bench):
        for number, (language, name, words) in enumerate(TEXTS):
            text = post(name, words, language=language, author_id=f"author-{number % 3}")
            unsafe = 0.25 + number / 20
            bench.take(
                text,
                judged(
                    text,
                    at=time.time() - NOON - 3600 * (6 - number),
                    scores={"safe": 0.7 - unsafe, "controversial": 0.3, "unsafe": unsafe},
                    categories=["Violent"],
                    reason="It may threaten a person, and does not say so outright.",
                ),
            )
        for number in range(24):
            text = post(f"done {number}", language=("en", "de", "zh")[number % 3])
            bench.take(
                text,
                judged(
                    text, at=time.time() - NOON, categories=[("Violent", "Copyright Violation")[number % 2]]
                ),
            )
            done = next(one for one in bench.all() if bench.verdict(one.case_id).post_id == text.id)
            bench.answer(done.case_id, (HERON, MAGPIE)[number % 2], "block" if number % 5 == 0 else "allow")
        with sits("heron", **SIZE) as heron:
            _keep(folder, "queue", heron)
            heron.go("n")
            _keep(folder, "veiled", heron)
            heron.press("v")
            _keep(folder, "case", heron)
        with sits("owl", **SIZE, color_scheme="dark") as owl:
            owl.open("/figures")
            _keep(folder, "figures", owl)
            owl.open("/model")
            _keep(folder, "model", owl)
    assert all(one.stat().st_size < 120_000 for one in folder.glob("*.png"))
