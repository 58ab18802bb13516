"""A small guard's evaluation becomes what its answers are worth, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.evaluate.labelled_rows import rows_digest
from sluicegate.engines.adapt.evaluate.scored import Evaluated, Judged, ScoredRow, labelled
from sluicegate.engines.adapt.screen.guarding import measured, write
from sluicegate.engines.errors import ScreenError
from sluicegate.engines.screen import GuardManifest

DIGEST = "sha256:" + "a" * 64


def row(number: int, **fields: Any) -> Row:
    severity = "unsafe" if number % 2 else "safe"
    text = f"Words of row number {number}"
    given = {
        "id": f"r{number}",
        "text": text,
        "kind": "post",
        "severity": severity,
        "source": "s",
        "language": "en",
    }
    return Row.model_validate(given | fields)


ROWS = [row(number) for number in range(400)]


def evaluated(rows: list[Row], **judged: Any) -> Evaluated:
    """Sure of all, and wrong about every hundredth row."""
    scores = []
    for number, one in enumerate(rows):
        sure = 0.9 + 0.0002 * (number % 400)
        right = (one.severity == "safe") != (number % 100 == 50)
        three = (sure, 0.0, 1 - sure) if right else (1 - sure, 0.0, sure)
        scores.append(ScoredRow(**labelled(one), probabilities=three))
    engine = {"digest": DIGEST, "backend": "fake", "model": "m", "layout_digest": DIGEST}
    document = {"engine": engine, "split": "dev", "rows_digest": rows_digest(rows)} | judged
    return Evaluated(Path("e"), scores, Judged.model_validate(document), DIGEST)


def test_what_is_measured_is_the_bound_of_the_rows_at_or_above_a_score() -> None:
    manifest, (found,) = measured(evaluated(ROWS), ROWS, "small")
    assert (manifest.guard, manifest.backend) == (DIGEST, "fake")
    assert (manifest.rows, manifest.data) == (400, rows_digest(ROWS))
    (group,) = manifest.groups
    assert (group, group.kind, group.language, group.scripts) == (found.group, "post", "en", ("LATIN",))
    assert group.safe[0][0] >= 0.9
    assert all(error >= 0.01 for _, error in group.safe)


@pytest.mark.parametrize(
    ("judged", "rows", "said"),
    [
        ({}, ROWS[1:], "of other rows"),
        ({"split": "train"}, ROWS, "did not train it"),
        ({"training_rows": 3}, ROWS, "did not train it"),
        ({"terms": {"calibrated": True}}, ROWS, "without --calibrated"),
        ({"terms": {"hints": True}}, ROWS, "and --hints"),
    ],
)
def test_what_says_nothing_of_new_posts_is_refused(
    judged: dict[str, Any], rows: list[Row], said: str
) -> None:
    with pytest.raises(ScreenError, match=said):
        measured(evaluated(ROWS, **judged), rows, "small")


def test_rows_that_a_worker_gives_to_the_large_guard_are_not_measured() -> None:
    disguised = [one.model_copy(update={"text": f"W0rds of h4te {one.id}"}) for one in ROWS[:40]]
    rows = [*disguised, *ROWS[40:]]
    manifest, _ = measured(evaluated(rows), rows, "small")
    assert manifest.rows == 360


def test_too_few_rows_make_no_screen() -> None:
    with pytest.raises(ScreenError, match="rows enough"):
        measured(evaluated(ROWS[:100]), ROWS[:100], "small")


def test_a_folder_is_written_once_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    manifest, _ = measured(evaluated(ROWS), ROWS, "small")
    write(manifest, tmp_path / "guard", overwrite=False)
    assert GuardManifest.load(tmp_path / "guard") == manifest
    with pytest.raises(ScreenError, match="is not empty"):
        write(manifest, tmp_path / "guard", overwrite=False)
    write(manifest, tmp_path / "guard", overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("mine")
    with pytest.raises(ScreenError, match="is not empty"):
        write(manifest, tmp_path / "other", overwrite=True)
