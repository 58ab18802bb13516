"""Making: rows that belong together are held out together, and nothing is claimed on rows that tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.screen.making import (
    MadeScreen,
    ScreenTerms,
    claim,
    curves,
    make,
    measured,
    unseen,
    write,
)
from sluicegate.engines.screen.model import Screen, ScreenError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.schemas import Severity

SEVERITIES: tuple[Severity, ...] = ("safe", "controversial", "unsafe")
TERMS = ScreenTerms("small", features=20_000, folds=3)
_WORDS = ("garden", "window", "river", "letter", "market", "winter", "bridge", "candle", "forest", "kitchen")
_TELLING = {"safe": "lovely thanks", "controversial": "perhaps doubtful", "unsafe": "filthy vermin"}


def still(*_: object) -> None:
    """Progress that nobody reads."""


def row(at: int, severity: Severity, text: str, **fields: Any) -> Row:
    document = {
        "id": f"r{at}",
        "text": text,
        "severity": severity,
        "kind": "post",
        "language": "en",
        "source": "own",
        "licence": "MIT",
    }
    return Row.model_validate(document | fields)


def rows(count: int, *, skill: float = 1.0, seed: int = 0, **fields: Any) -> list[Row]:
    """Rows whose words tell the label, in a share of them."""
    rng = np.random.default_rng(seed)
    found = []
    for at in range(count):
        severity = SEVERITIES[int(rng.choice(3, p=[0.5, 0.2, 0.3]))]
        told = severity if rng.random() < skill else SEVERITIES[int(rng.integers(3))]
        text = " ".join([*rng.choice(_WORDS, 5).tolist(), _TELLING[told], *rng.choice(_WORDS, 4).tolist()])
        found.append(row(at + seed * 100_000, severity, text, **fields))
    return found


def made(given: Sequence[Row], **changes: Any) -> MadeScreen:
    return make(given, ScreenTerms(**{"name": "small", "features": 20_000, "folds": 3, **changes}), still)


def loaded(folder: Path, one: MadeScreen) -> Screen:
    claim(folder, overwrite=False)
    write(one, folder)
    return Screen.load(folder)


@pytest.fixture(scope="module")
def plain_one() -> MadeScreen:
    return made(rows(900, skill=0.97))


def test_a_screen_answers_what_it_learnt(tmp_path: Path, plain_one: MadeScreen) -> None:
    screen = loaded(tmp_path / "screen", plain_one)
    report = measured(screen, rows(600, skill=0.97, seed=1), still)
    (group,) = report["groups"]
    assert (group["kind"], group["language"], group["rows"]) == ("post", "en", 600)
    for side in ("safe", "unsafe"):
        shares = [point["answered"] for point in group[side]]
        assert shares == sorted(shares)  # a looser tolerance answers more
        assert shares[-1] > 50
        assert group[side][-1]["share_wrong"] < 0.1
    assert group["safe"][0]["answered"] == 0  # nine hundred rows cannot promise one error in a thousand


def test_the_same_rows_give_the_same_screen(plain_one: MadeScreen) -> None:
    again = made(rows(900, skill=0.97))
    assert (again.manifest, again.weights) == (plain_one.manifest, plain_one.weights)


def test_the_manifest_says_what_it_is_of(plain_one: MadeScreen) -> None:
    manifest = plain_one.manifest
    assert manifest.rows == 900
    assert {name: one.model_dump() for name, one in manifest.sources.items()} == {
        "own": {"licence": "MIT", "rows": 900}
    }
    assert made(rows(901, skill=0.97)).manifest.data != manifest.data


def test_rows_without_a_meaning_promise_nothing() -> None:
    found = made(rows(900, skill=0.0))
    assert found.manifest.groups == ()
    assert "too often wrong" in found.groups[0].why_not


def test_rows_of_one_group_are_held_out_together() -> None:
    """Ten copies of a text with a label by lot: who has seen one copy knows the others, and nothing of new texts."""
    rng = np.random.default_rng(0)
    texts = [" ".join("".join(rng.choice([*"abcdefghijklmnop"], 6)) for _ in range(6)) for _ in range(60)]
    lots = [
        (text, severity, f"g{at}")
        for at, text in enumerate(texts)
        for severity in [SEVERITIES[int(rng.integers(3))]]
        for _ in range(10)
    ]
    apart = [row(at, severity, text) for at, (text, severity, _) in enumerate(lots)]
    together = [one.model_copy(update={"group": lots[at][2]}) for at, one in enumerate(apart)]
    assert made(apart).manifest.groups != ()  # copies in other folds give the label away
    assert made(together).manifest.groups == ()


def test_a_source_of_one_side_proves_nothing() -> None:
    two_sided = rows(300, skill=0.97, source="mixed")
    one_sided = [
        one.model_copy(update={"source": "tame"}) for one in rows(600, seed=1) if one.severity == "safe"
    ]
    found = made([*two_sided, *one_sided]).groups[0]
    assert found.one_sided == ("tame",)
    assert found.group is not None
    assert found.group.rows <= 300
    (alone,) = made([*two_sided[:150], *one_sided]).groups
    assert alone.group is None
    assert "rows without one-sided sources, fewer than 200" in alone.why_not


def test_few_rows_are_no_group_and_what_teaches_nothing_is_counted() -> None:
    given = [
        *rows(400),
        *rows(50, seed=1, language="de"),
        *rows(7, seed=2, language=None),
        *rows(5, seed=3, kind="response", context="Hello?"),
        *(row(at, "unsafe", "x y", language="sw") for at in range(900_000, 900_003)),
    ]
    found = made(given)
    assert found.left_out == {"no language": 7, "with context": 5, "language with one severity only": 3}
    assert [(one.key, one.group is not None) for one in found.groups] == [
        (("post", "en"), True),
        (("post", "de"), False),
    ]
    assert found.groups[1].why_not == "50 rows, fewer than 200"


@pytest.mark.parametrize("given", [rows(20), [one for one in rows(300) if one.severity != "unsafe"]])
def test_rows_that_do_not_suffice_are_told(given: list[Row]) -> None:
    with pytest.raises(ScreenError, match="give at least 100 of all three"):
        made(given)


def test_a_source_that_taught_nothing_is_answered_by_what_the_others_taught() -> None:
    foreign = [
        one.model_copy(update={"source": "foreign", "severity": "safe"})
        for one in rows(120, seed=7)
        if one.severity == "unsafe"
    ]
    learnt = made([*rows(900, skill=0.97, seed=4), *foreign])
    by_source = {one["source"]: one for one in unseen(learnt, TERMS, still)}
    assert {*by_source} == {"foreign"}  # without the other one, nothing is left to learn from
    last = by_source["foreign"]["unsafe"][-1]
    assert last["answered"] > len(foreign) / 2
    assert last["wrong"] == last["answered"]


def test_a_folder_is_claimed_if_it_is_empty_or_a_screen_to_be_replaced(
    tmp_path: Path, plain_one: MadeScreen
) -> None:
    folder = tmp_path / "screen"
    claim(folder, overwrite=False)
    write(plain_one, folder)
    with pytest.raises(ScreenError, match="is not empty"):
        claim(folder, overwrite=False)
    claim(folder, overwrite=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine").touch()
    with pytest.raises(ScreenError, match="is not empty"):
        claim(tmp_path / "notes", overwrite=True)
    (folder / "manifest.json").unlink()  # as writing that was broken off leaves it
    claim(folder, overwrite=True)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").touch()  # an engine's has one, too
    with pytest.raises(ScreenError, match="is not empty"):
        claim(tmp_path / "bundle", overwrite=True)
    with pytest.raises(ScreenError, match="cannot be written"):
        claim(tmp_path / "notes" / "mine" / "screen", overwrite=False)


def test_points_of_a_curve_count_answers_and_errors() -> None:
    points = curves([(row(1, "safe", "x"), None)])["safe"]
    assert all(point["answered"] == point["wrong"] == 0 for point in points)
    assert "share_wrong" not in points[0]  # of nothing, no share
