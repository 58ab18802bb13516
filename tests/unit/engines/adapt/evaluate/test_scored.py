"""Scored rows: what is written is read, and nothing else is taken for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate.scored import (
    SCORES,
    SEVERITIES,
    ScoredRow,
    labelled,
    parse_scored,
    read_scores,
    write_scores,
)
from sluicegate.schemas import CATEGORIES
from support.scored import scored, sure

if TYPE_CHECKING:
    from pathlib import Path


@st.composite
def rows(draw: st.DrawFn) -> ScoredRow:
    weights = [draw(st.floats(0, 1)) for _ in SEVERITIES]
    total = sum(weights)
    three = tuple(one / total for one in weights) if total > 1e-9 else (1.0, 0.0, 0.0)
    failed = draw(st.booleans())
    fields: dict[str, Any] = {
        "language": draw(st.sampled_from([None, "en", "zh-Hant"])),
        "categories": tuple(draw(st.lists(st.sampled_from(CATEGORIES), unique=True, max_size=3))),
        "group": draw(st.sampled_from([None, "g"])),
        "refusal": draw(st.sampled_from([None, True, False])),
        "well_formed": None if failed else draw(st.sampled_from([None, True, False])),
        "found_reason": draw(st.sampled_from([None, "asks | for\u202emoney"])),
    }
    name, severity = draw(st.text("ab|\u200d#", min_size=1, max_size=9)), draw(st.sampled_from(SEVERITIES))
    return scored(name, severity, None if failed else three, **fields)  # type: ignore[arg-type]


@given(st.lists(rows(), min_size=1, max_size=5, unique_by=lambda row: row.id))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[ScoredRow]
) -> None:
    folder = tmp_path_factory.mktemp("scores")
    assert write_scores(folder, given_rows) == folder / SCORES
    assert read_scores(folder) == read_scores(folder / SCORES) == given_rows


def test_a_labelled_row_decides_the_labels_and_its_text_goes_nowhere() -> None:
    row = Row(
        id="a",
        text="unforgettable marzipan",
        kind="response",
        context="marzipan?",
        severity="unsafe",
        categories=("PII",),
        refusal=True,
        source="s",
        language="de",
        region="DE",
        group="g",
        label_basis="human",
    )
    found = ScoredRow(**labelled(row), probabilities=sure("safe"))
    assert (found.severity, found.found, found.categories) == ("unsafe", "safe", ("PII",))
    assert (found.refusal, found.region, found.group, found.label_basis) == (True, "DE", "g", "human")
    assert b"marzipan" not in orjson.dumps(found.document())


@pytest.mark.parametrize(
    ("three", "found"),
    [((0.4, 0.4, 0.2), "controversial"), ((0.4, 0.2, 0.4), "unsafe"), ((0.5, 0.25, 0.25), "safe")],
)
def test_a_tie_goes_to_the_more_severe(three: tuple[float, float, float], found: str) -> None:
    assert scored("a", "safe", three).found == found


@pytest.mark.parametrize(
    "changed",
    [
        {"probabilities": None},
        {"failure": "timed_out"},
        {"probabilities": [0.1, 0.2]},
        {"probabilities": [0.1, 0.2, 0.8]},
        {"probabilities": [0.5, 0.6, -0.1]},
        {"probabilities": ["0.5", 0.25, 0.25]},
        {"severity": "Safe"},
        {"id": "a\nb"},
        {"source": "a\x1b[2J"},
        {"language": "../en"},
        {"found_reason": "x" * 401},
        {"well_formed": "yes"},
    ],
)
def test_anything_else_is_no_scored_row(changed: dict[str, Any]) -> None:
    document = scored("a", "safe", sure("safe")).document()
    parse_scored(orjson.dumps(document))
    with pytest.raises(ValidationError):
        parse_scored(orjson.dumps({**document, **changed}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no rows"),
        (b"nonsense\n", ":1: line is not"),
        (b'{"id": "unforgettable", "severity": "unforgettable"}\n', ":1: source is not"),
        (b"x" * 70_000, ":1: more than"),
    ],
)
def test_a_fault_names_file_line_and_field_and_nothing_of_the_row(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / SCORES).write_bytes(content)
    with pytest.raises(EvaluationError) as raised:
        read_scores(tmp_path)
    assert said in str(raised.value)
    assert "unforgettable" not in str(raised.value)


def test_a_row_that_stands_twice_is_refused(tmp_path: Path) -> None:
    row = scored("a", "safe", sure("safe"))
    write_scores(tmp_path, [row, row])
    with pytest.raises(EvaluationError, match=":2: id: the same"):
        read_scores(tmp_path)


def test_no_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_scores(tmp_path)
