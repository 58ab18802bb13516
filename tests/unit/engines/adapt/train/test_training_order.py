from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.examples import (
    Example,
    one_sided_languages,
    order_digest,
    plan,
    shares,
    steps,
    stratified,
)
from sluicegate.engines.adapt.train.plan import read_rows
from support.training import labelled_rows, training_row, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.schemas import Severity


def example(number: int, source: str, language: str = "en", severity: Severity = "safe") -> Example:
    return Example(str(number), source, language, severity, (1, number), (2,), cut=False, reason=False)


EXAMPLES = [
    example(n, "large" if n < 300 else "little", "en" if n % 3 else "zh", "unsafe" if n % 5 else "safe")
    for n in range(340)
]


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 10_000), min_size=1, max_size=8),
    st.integers(0, 5_000),
    st.floats(0, 1),
)
def test_all_places_are_given_and_no_smaller_source_gets_more(
    sizes: dict[str, int], total: int, balance: float
) -> None:
    given_places = shares(sizes, total, balance)
    assert sum(given_places.values()) == total
    by_size = sorted(sizes, key=lambda name: sizes[name])
    for smaller, larger in pairwise(by_size):
        assert given_places[smaller] <= given_places[larger] + 1


def test_balance_one_keeps_the_shares_of_the_data_and_balance_zero_makes_sources_equal() -> None:
    sizes = {"large": 900, "little": 100}
    assert shares(sizes, 50, 1.0) == {"large": 45, "little": 5}
    assert shares(sizes, 50, 0.0) == {"large": 25, "little": 25}


def test_every_stretch_of_the_order_is_mixed_like_the_whole() -> None:
    order = plan(EXAMPLES, rows=340, balance=1.0, seed=3)
    assert sorted(order) == list(range(340))
    for start in range(0, 340, 85):
        stretch = [EXAMPLES[index] for index in order[start : start + 85]]
        assert 23 <= sum(one.language == "zh" for one in stretch) <= 34
        assert 12 <= sum(one.severity == "safe" for one in stretch) <= 22
        assert 8 <= sum(one.source == "little" for one in stretch) <= 12


def test_a_small_source_begins_again_only_when_all_of_it_was_shown() -> None:
    order = plan(EXAMPLES, rows=340, balance=0.0, seed=3)
    times = Counter(index for index in order if EXAMPLES[index].source == "little")
    assert set(times) == set(range(300, 340))
    assert set(times.values()) == {4, 5}


def test_the_seed_decides_the_order() -> None:
    first, again, other = (plan(EXAMPLES, rows=100, balance=0.5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert order_digest(EXAMPLES, first) != order_digest(EXAMPLES, other)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 20), st.integers(64, 1000))
def test_steps_hold_each_row_once_and_bound_the_padding(
    lengths: list[int], batch_rows: int, micro_tokens: int
) -> None:
    order = list(range(len(lengths)))
    made = steps(order, lengths, batch_rows=batch_rows, micro_tokens=micro_tokens)
    assert [sorted(index for part in one for index in part) for one in made] == [
        order[at : at + batch_rows] for at in range(0, len(order), batch_rows)
    ]
    for part in (part for one in made for part in one):
        longest, shortest = max(lengths[i] for i in part), min(lengths[i] for i in part)
        assert len(part) == 1 or len(part) * longest <= micro_tokens
        assert longest <= shortest * 1.25 + 8


def test_a_stratified_sample_is_the_same_every_time_and_has_the_shares_of_the_whole() -> None:
    sample = stratified(EXAMPLES, 34, seed=5)
    assert sample == stratified(EXAMPLES, 34, seed=5)
    assert 9 <= sum(one.language == "zh" for one in sample) <= 14
    assert stratified(EXAMPLES, 10_000, seed=5) == EXAMPLES


def test_a_language_with_one_severity_is_found() -> None:
    rows = [*labelled_rows(12), training_row("x", "x", language="sw", severity="unsafe")]
    assert one_sided_languages(rows) == {"sw"}


def test_prepared_rows_are_read_from_their_two_files(tmp_path: Path) -> None:
    train, dev = labelled_rows(6), labelled_rows(3, prefix="d")
    read = read_rows(write_rows(tmp_path, train, dev))
    assert [[row.id for row in rows] for rows in read] == [[row.id for row in rows] for rows in (train, dev)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "dev.jsonl").unlink(), r"dev\.jsonl cannot be read"),
        (lambda folder: (folder / "train.jsonl").write_text(""), "has no rows"),
        (lambda folder: (folder / "train.jsonl").write_text('\n{"id": "1"}'), r"train\.jsonl:2: text is not"),
        (
            lambda folder: (folder / "dev.jsonl").write_bytes((folder / "train.jsonl").read_bytes()),
            r"dev\.jsonl:1: a row of the split train",
        ),
        (
            lambda folder: (folder / "dev.jsonl").write_bytes(
                (folder / "train.jsonl").read_bytes().replace(b'"train"', b'"dev"')
            ),
            r"6 ids stand in train\.jsonl and in dev\.jsonl",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(tmp_path: Path, change: object, message: str) -> None:
    folder = write_rows(tmp_path, labelled_rows(6), labelled_rows(3, prefix="d"))
    assert callable(change)
    change(folder)
    with pytest.raises(TrainingError, match=message):
        read_rows(folder)
