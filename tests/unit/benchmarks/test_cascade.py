"""The cascade's arithmetic: a lower bar leaves the large guard less, nothing is answered by nobody, and harm is counted."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from cascade import command, harm
from cascade.harm import Harm, Study, fold_of, verdict
from cascade.reading import Reader
from cascade.study import SMALL, Cost, cost, table
from shared.judging import Store
from shared.report import REPORTS, ROOT
from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.backends.open import Backend
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import CATEGORIES, Post, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POSTS = [Post(id=f"p{number}", text=f"hello number {number} " * 3, language="en") for number in range(120)]
MIX = {"safe": 0.9, "controversial": 0.0, "unsafe": 0.1}


def test_the_large_guard_reads_what_the_small_one_leaves() -> None:
    alone, few, many = (asyncio.run(cost(POSTS, bar)) for bar in (None, 0.95, 0.75))
    assert (alone.answered, alone.small_s) == (0.0, 0.0)
    assert 0 < few.answered < many.answered < 1
    assert alone.large_s > few.large_s > many.large_s > 0
    assert few.small_s == pytest.approx(many.small_s)
    assert 0 < many.small_s < alone.large_s
    assert table([alone, many], 2 * alone.large_s).count("0.500") == 1


def test_the_small_guard_finds_what_the_large_one_finds() -> None:
    assert FakeEngine(SMALL).info.digest == FakeEngine().info.digest


def test_the_operating_point_is_the_strictest_bar_that_keeps_the_goal() -> None:
    costs = [
        Cost(None, 0.0, 0.0, 0.34),
        Cost(0.75, 0.6, 0.02, 0.12),
        Cost(0.8, 0.5, 0.02, 0.17),
        Cost(0.9, 0.2, 0.02, 0.3),
    ]
    assert command.operating_point(costs, 1.0).bar == 0.8
    assert command.operating_point(costs, 0.1).bar == 0.75  # none keeps it: the loosest
    assert command.over_always(0.0, costs, 1.0) == pytest.approx(0.36)
    assert command.over_always(0.5, costs, 1.0) == pytest.approx(0.19)


def test_the_mix_is_that_of_the_streams_own_labels() -> None:
    lines = [
        json.dumps({"id": "a", "label": {"severity": one}}).encode() for one in ("safe", "safe", "unsafe")
    ]
    assert command.mix_of([*lines, b'{"id": "b"}']) == pytest.approx({"safe": 2 / 3, "unsafe": 1 / 3})
    assert command.mix_of([b'{"id": "b"}']) == {}


def row(number: int, severity: Severity, *, source: str = "one", text: str = "a text") -> Row:
    return Row(
        id=f"{source}:{number}",
        text=text,
        kind="post",
        severity=severity,
        language="en",
        source=source,
    )


def test_harm_counts_allows_of_what_is_not_safe_and_weighs_them_by_the_mix() -> None:
    rows = [(row(at, "safe"), at < 8) for at in range(10)]
    rows += [(row(at, "unsafe", source="two"), at < 1) for at in range(4)]
    found = Harm.of(rows)
    assert (found.count, found.answered, found.wrong) == (14, 9, 1)
    share, wrong = found.at_mix(MIX)
    assert share == pytest.approx(0.9 * 0.8 + 0.1 * 0.25)
    assert wrong == pytest.approx(0.025 / share)
    assert found.at_most is not None
    assert found.at_most > 1 / 9
    assert found.document(MIX)["harmful"] == 4
    assert Harm.of([(row(1, "safe"), False)]).at_most is None


def sample() -> list[Row]:
    """The fake engine judges by the words; the labels say the same but for every twentieth of the safe ones."""
    rows = []
    for number in range(900):
        safe = number % 2 == 0
        severity: Severity = "safe" if safe and number % 40 else "unsafe"
        text = f"{'a fine day' if safe else 'a bad word'} of many, number {number}"
        rows.append(row(number, severity, source=("one", "two", "three")[number % 3], text=text))
    return rows


@pytest.fixture
def study(tmp_path: Path) -> Study:
    profile = FakeProfile(rules={"a fine day": "safe", "a bad word": "unsafe"})
    backend = Backend(FakeEngine(profile), fake_prompter(profile), CATEGORIES)

    async def read() -> tuple[Reader, Sequence[Row]]:
        async with backend.engine:
            reader = Reader(backend, Store(tmp_path, backend.engine.info))
            return reader, await reader.read(sample(), 900)

    reader, rows = asyncio.run(read())
    return Study(reader, rows, {"three"})


def test_bars_are_tried_on_rows_that_did_not_make_them_and_the_page_says_what_follows(study: Study) -> None:
    found = asyncio.run(harm.measure(study, MIX, 0.5))
    assert found["measured"] == ["post en"]
    assert found["at_share"]["share_at_mix"] >= 0.5
    loose, strict = found["within"][-1], found["within"][0]
    assert (
        loose["answered"] > strict["answered"] == 0
    )  # one label in twenty is another: no bar of 0.5 % is shown
    assert loose["wrong"] > 0
    assert loose["rows"] == 900
    assert {one["rows"] for one in found["unseen_at_scores"]} == {300}
    told = "\n".join(harm.page(found))
    assert "Do not switch this small guard on" in told
    assert "never learnt from" in told


def test_a_row_that_was_not_scored_is_answered_by_nobody(study: Study, tmp_path: Path) -> None:
    engine = study.reader.backend.engine
    empty = Study(Reader(study.reader.backend, Store(tmp_path / "empty", engine.info)), study.rows, set())
    found = asyncio.run(harm.measure(empty, MIX, 0.5))
    assert found["bar"] is None
    assert all(one["answered"] == 0 for one in found["within"])
    assert "cannot answer the share" in "\n".join(harm.page(found))


def test_the_committed_page_is_that_of_its_figures_and_the_harm_stands_beside_the_saving() -> None:
    document = json.loads((REPORTS / "cascade.json").read_text(encoding="utf-8"))
    told = command.page(document, [Cost(**one) for one in document["costs"]])
    assert (REPORTS / "cascade.md").read_text(encoding="utf-8") == told
    sizing = " ".join((ROOT / "docs" / "sizing.md").read_text(encoding="utf-8").split())
    found, point = document["harm"], document["point"]
    at = found["at_share"]
    assert f"answers {100 * point['answered']:.0f} % of the posts" in sizing
    assert f"{point['over_always']:.3f} of those of generate-always" in sizing
    assert (
        f"{at['wrong']} rows of {at['answered']} wrongly: {100 * at['wrong'] / at['answered']:.1f} %"
        in sizing
    )
    assert f"at most {100 * at['wrong_at_most']:.1f} %" in sizing
    unseen = next(one for one in found["unseen_at_scores"] if one["score"] == 0.75)
    assert f"{unseen['wrong']} of {unseen['answered']} allows are wrong" in sizing
    shown = [one for one in found["within"] if one["answered"] and one["wrong_at_most"] <= harm.SMALL_HARM]
    assert ("do not switch it on with this small guard" in sizing) is (not shown)
    assert Settings().screen.guard is None


def test_rows_of_one_group_are_in_one_part() -> None:
    rows = [row(at, "safe").model_copy(update={"group": "g"}) for at in range(20)]
    assert len({fold_of(one) for one in rows}) == 1
    assert len({fold_of(row(at, "safe")) for at in range(200)}) == harm.FOLDS


def test_a_small_harm_that_is_shown_is_told_with_the_share_that_it_leaves() -> None:
    point = {"rows": 2000, "answered": 900, "wrong": 0, "wrong_at_most": 0.0034, "share_at_mix": 0.45}
    said = verdict({"within": [{"tolerance": 0.005, **point}]})
    assert "up to a tolerance of 0.005" in said
    assert "45.0 %" in said
