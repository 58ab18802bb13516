"""Which clusters go to dev: by their own texts and the seed, never beyond their share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.data.decisions import assign
from sluicegate.engines.adapt.data.row_facts import RowFacts


def facts(number: int, severity: str = "safe", language: str | None = "en") -> RowFacts:
    return RowFacts(
        rank=bytes([number]),
        form=bytes([number]),
        setting=b"",
        number=number,
        severity="unsafe" if severity == "unsafe" else "safe",
        language=language,
    )


def test_a_cluster_larger_than_the_room_stays_in_train_and_smaller_ones_fill_it() -> None:
    large = [facts(number) for number in range(5)]
    small = [[facts(number)] for number in range(10, 15)]
    for seed in range(20):
        to_dev = assign([large, *small], share=0.2, seed=seed)
        assert (to_dev[0], sum(to_dev)) == (False, 2)


def test_a_cluster_counts_for_the_language_and_severity_of_most_of_its_rows() -> None:
    mixed = [[facts(number), facts(100 + number), facts(50 + number, "unsafe")] for number in range(5)]
    unsafe = [[facts(200 + number, "unsafe")] for number in range(10)]
    to_dev = assign([*mixed, *unsafe], share=0.2, seed=1)
    assert (sum(to_dev[:5]), sum(to_dev[5:])) == (1, 2)


def test_nothing_and_no_share_give_nothing() -> None:
    assert assign([], share=0.5, seed=0) == []
    assert assign([[facts(1)], [facts(2)]], share=0.0, seed=0) == [False, False]


clusters_of = st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=4), max_size=20).map(
    lambda lists: [
        [facts(number, "unsafe" if number % 2 else "safe") for number in dict.fromkeys(numbers)]
        for numbers in lists
    ]
)


@given(clusters=clusters_of, share=st.floats(0, 0.5), seed=st.integers(), data=st.data())
def test_neither_the_order_of_clusters_nor_of_their_rows_plays_a_part(
    clusters: list[list[RowFacts]], share: float, seed: int, data: st.DataObject
) -> None:
    distinct: list[list[RowFacts]] = []
    for rows in clusters:
        if not {one.form for one in rows} & {one.form for other in distinct for one in other}:
            distinct.append(rows)
    order = data.draw(st.permutations(range(len(distinct))))
    shuffled = [data.draw(st.permutations(distinct[at])) for at in order]
    first = assign(distinct, share=share, seed=seed)
    again = assign(shuffled, share=share, seed=seed)
    assert [first[at] for at in order] == again
    total = sum(map(len, distinct))
    in_dev = sum(len(rows) for rows, is_dev in zip(distinct, first, strict=True) if is_dev)
    assert in_dev <= share * total + 0.5 * 2  # rounded once for each of the two severities
