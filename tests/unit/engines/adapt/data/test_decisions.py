"""What becomes of rows, and which of them go to dev."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.engines.adapt.data.decisions import (
    Choices,
    ConflictSettling,
    RowDecision,
    RowDecisions,
    assign,
    decide,
)
from sluicegate.engines.adapt.data.rows import RowFacts
from support.labelled import every, facts_of, rows_of, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LONG = (
    "The committee met on Tuesday evening and agreed to plant forty trees along the river before the spring"
)
NEAR = LONG.replace("forty", "fifty")
NEARER = f"{NEAR} festival"
OTHER = "Somebody left a blue umbrella in the waiting room of the dentist and never came back for it"


def labelled(text: str = LONG, severity: str = "safe", **fields: Any) -> dict[str, Any]:
    return {"text": text, "severity": severity, **fields}


def correction(text: str = LONG, severity: str = "unsafe", **fields: Any) -> dict[str, Any]:
    at = {"verdict_id": "v", "blind": True, "reviewed_at": "2026-03-02T09:00:00Z"}
    return labelled(text, severity, **{**at, **fields})


def decided(*documents: dict[str, Any], **choices: Any) -> RowDecisions:
    facts, pairs = facts_of(rows_of(documents))
    return decide(facts, pairs, Choices(**{"dev_share": 0.0, **choices}))


def decisions(*documents: dict[str, Any], **choices: Any) -> list[str]:
    return [decision.value for decision in decided(*documents, **choices).of]


def test_no_rows_have_no_fates() -> None:
    assert decisions() == []


def test_of_equal_rows_one_is_kept() -> None:
    found = decisions(labelled(), labelled(LONG.upper()), labelled(f"  {LONG}"), labelled(OTHER))
    assert Counter(found) == {"train": 2, "duplicate": 2}
    assert found[3] == "train"


@pytest.mark.parametrize(
    "fields",
    [{"kind": "prompt"}, {"tenant": "bank"}, {"region": "DE"}, {"kind": "response", "context": "why?"}],
    ids=lambda fields: next(iter(fields)),
)
def test_one_text_in_two_settings_is_two_rows_which_may_differ(fields: dict[str, str]) -> None:
    found = decided(labelled(), labelled(severity="unsafe", **fields))
    assert found.of == [RowDecision.TRAIN, RowDecision.TRAIN]
    assert (found.conflicts, found.near_conflicts) == ([], [])


@pytest.mark.parametrize(
    ("settling", "expected"),
    [
        ("drop", ["conflict", "conflict", "conflict", "train"]),
        ("keep-most-severe", ["conflict", "train", "conflict", "train"]),
        ("keep", ["train", "train", "train", "train"]),
    ],
)
def test_one_text_with_several_severities_is_settled_as_chosen(settling: str, expected: list[str]) -> None:
    documents = [
        labelled(),
        labelled(LONG.upper(), "unsafe"),
        labelled(severity="controversial"),
        labelled(OTHER),
    ]
    found = decided(*documents, conflicts=ConflictSettling(settling))
    assert [decision.value for decision in found.of] == expected
    assert found.conflicts == [(0, 1, 2)]


@pytest.mark.parametrize(
    ("settling", "expected"),
    [
        ("keep", ["train", "train", "train"]),
        ("keep-most-severe", ["near_conflict", "train", "train"]),
        ("drop", ["near_conflict", "near_conflict", "train"]),
    ],
)
def test_near_duplicates_with_several_severities_are_listed_and_settled(
    settling: str, expected: list[str]
) -> None:
    found = decided(
        labelled(),
        labelled(NEAR, "unsafe"),
        labelled(OTHER, "unsafe"),
        near_conflicts=ConflictSettling(settling),
    )
    assert [decision.value for decision in found.of] == expected
    assert found.near_conflicts == [(0, 1)]
    assert (found.near_clusters, found.near_rows) == (1, 2)


def test_rows_that_disagree_over_others_are_listed_once_and_each_is_judged_by_its_own_neighbours() -> None:
    words = [f"word{number:03}" for number in range(24)]
    chain = [" ".join(words[start : start + 18]) for start in (0, 3, 6)]
    documents = [
        labelled(text, severity)
        for text, severity in zip(chain, ["unsafe", "controversial", "safe"], strict=True)
    ]
    found = decided(*documents, labelled(chain[2] + "!"), near_conflicts=ConflictSettling.KEEP_MOST_SEVERE)
    assert found.near_conflicts == [(0, 1, 2, 3)]
    assert [decision.value for decision in found.of] == [
        "train",
        "near_conflict",
        "near_conflict",
        "near_conflict",
    ]
    assert (found.near_clusters, found.near_rows) == (1, 4)


def test_a_campaign_of_one_label_is_compared_once_each() -> None:
    documents = [labelled(f"{LONG} number {number}") for number in range(60)]
    facts, pairs = facts_of(rows_of(documents))
    given_pairs: list[tuple[int, int]] = []

    def watched(matters: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
        for pair in pairs(matters):
            given_pairs.append(pair)
            yield pair

    found = decide(facts, watched, Choices())
    assert (found.near_clusters, found.near_rows, found.largest_cluster) == (1, 60, 60)
    assert len(given_pairs) == 59


def test_texts_that_differ_in_punctuation_alone_are_near() -> None:
    found = decided(
        labelled("Stop it now"), labelled("Stop! It, now!", "unsafe"), near_conflicts=ConflictSettling.DROP
    )
    assert found.of == [RowDecision.NEAR_CONFLICT, RowDecision.NEAR_CONFLICT]
    assert (found.near_rows, found.conflicts) == (2, [])


def test_a_correction_stands_in_the_place_of_what_it_corrects() -> None:
    assert decisions(labelled(), labelled(LONG.upper()), correction()) == [
        "superseded",
        "superseded",
        "train",
    ]
    assert decisions(labelled(tenant="bank"), correction()) == ["train", "train"]
    assert decisions(labelled(), correction(tenant="default")) == ["superseded", "train"]


def test_a_correction_of_a_dev_row_stays_in_dev() -> None:
    assert decisions(labelled(split="dev"), labelled(split="train"), correction()) == ["superseded"] * 2 + [
        "dev"
    ]
    assert decisions(labelled(split="train"), correction(), dev_share=0.5) == ["superseded", "train"]


def test_the_newest_correction_of_a_verdict_counts() -> None:
    older = correction(severity="safe", reviewed_at="2026-03-02T10:00:00+02:00")
    newer = correction(severity="unsafe", reviewed_at="2026-03-02T08:30:00Z")
    assert decisions(older, newer) == ["superseded", "train"]
    assert decisions(newer, older) == ["train", "superseded"]


def test_reviewers_who_disagree_about_one_text_are_a_conflict() -> None:
    assert decisions(correction(severity="safe"), correction(verdict_id="w")) == ["conflict", "conflict"]


def test_given_splits_stand_and_dev_wins() -> None:
    found = decisions(
        labelled(split="train"),
        labelled(LONG.upper(), split="dev"),
        labelled(NEAR, split="train"),
        labelled(NEARER, split="train"),
        labelled(OTHER, split="train"),
    )
    assert found == ["exact_leak", "dev", "near_leak", "near_leak", "train"]


def test_a_row_without_a_split_goes_where_its_company_is() -> None:
    assert decisions(labelled(split="dev"), labelled(NEAR)) == ["dev", "dev"]
    assert decisions(labelled(split="train"), labelled(NEAR), dev_share=0.5) == ["train", "train"]
    assert decisions(labelled(split="dev"), labelled(NEAR), labelled(NEARER, split="train"))[2] == "near_leak"


def test_a_group_stays_together() -> None:
    assert decisions(
        labelled(group="g", split="dev"),
        labelled(OTHER, group="g", split="train"),
        labelled(sentence(3), group="g"),
    ) == ["dev", "group_leak", "dev"]


def test_groups_that_share_a_text_are_one_even_over_a_row_that_is_dropped() -> None:
    found = decisions(
        labelled(sentence(1), group="a", split="dev"),
        labelled(OTHER, group="a", split="dev"),
        labelled(OTHER.upper(), group="b", split="train"),
        labelled(sentence(2), group="b", split="train"),
    )
    assert found == ["dev", "dev", "exact_leak", "group_leak"]


def test_splits_that_rows_name_can_be_forgotten() -> None:
    documents = [labelled(split="dev"), labelled(NEAR, split="train"), labelled(OTHER, split="dev")]
    assert decisions(*documents, resplit=True) == ["train"] * 3


def test_each_language_and_severity_gives_its_share_to_dev() -> None:
    documents = [
        labelled(f"{sentence(number)} {sentence(number + 700)}", severity, language=language)
        for number, (language, severity) in enumerate(
            [("en", "safe")] * 200 + [("en", "unsafe")] * 60 + [("de", "safe")] * 40 + [("de", "unsafe")] * 4
        )
    ]
    found = decisions(*documents, dev_share=0.1)
    dev = Counter(
        (document["language"], document["severity"])
        for document, decision in zip(documents, found, strict=True)
        if decision == "dev"
    )
    assert dev == {("en", "safe"): 20, ("en", "unsafe"): 6, ("de", "safe"): 4}


def test_another_seed_is_another_dev() -> None:
    documents = [labelled(f"{sentence(number)} {sentence(number + 700)}") for number in range(100)]
    drawn = {tuple(decisions(*documents, dev_share=0.2, seed=seed)) for seed in range(5)}
    assert len(drawn) == 5
    assert {found.count("dev") for found in drawn} == {20}


texts = st.sampled_from([LONG, NEAR, NEARER, LONG.upper(), OTHER, OTHER + "!", *map(sentence, range(6))])
given_rows = st.fixed_dictionaries(
    {"text": texts, "severity": st.sampled_from(["safe", "controversial", "unsafe"])},
    optional={
        "language": st.sampled_from(["en", "zh"]),
        "tenant": st.just("bank"),
        "group": st.sampled_from(["a", "b"]),
        "split": st.sampled_from(["train", "dev"]),
    },
)
corrections = st.builds(
    correction,
    texts,
    st.sampled_from(["safe", "unsafe"]),
    verdict_id=st.sampled_from(["v", "w"]),
    reviewed_at=st.sampled_from(["2026-03-02T09:00:00Z", "2026-03-03T09:00:00Z"]),
)
inputs = st.lists(given_rows | corrections, max_size=14)
choices = st.builds(
    Choices,
    conflicts=st.sampled_from(ConflictSettling),
    near_conflicts=st.sampled_from(ConflictSettling),
    dev_share=st.sampled_from([0.0, 0.3, 0.5]),
    seed=st.integers(0, 3),
    resplit=st.booleans(),
)


@given(documents=inputs, chosen=choices, data=st.data())
@settings(max_examples=150)
def test_the_order_of_the_rows_decides_nothing(
    documents: list[dict[str, Any]], chosen: Choices, data: st.DataObject
) -> None:
    def told(order: list[dict[str, Any]]) -> Counter[tuple[str, RowDecision]]:
        facts, pairs = facts_of(rows_of(order))
        found = decide(facts, pairs, chosen)
        # Where rows are split anew, nobody reads what they said of it: two that differ in that alone are one.
        unread = {"split"} if chosen.resplit else set()
        return Counter(
            (repr(sorted((key, value) for key, value in one.items() if key not in unread)), decision)
            for one, decision in zip(order, found.of, strict=True)
        )

    assert told(documents) == told(data.draw(st.permutations(documents)))


@given(documents=inputs, chosen=choices)
@settings(max_examples=150)
def test_no_cluster_and_no_group_straddles_and_every_row_has_one_fate(
    documents: list[dict[str, Any]], chosen: Choices
) -> None:
    rows = rows_of(documents)
    facts, pairs = facts_of(rows)
    found = decide(facts, pairs, chosen)
    assert found.counts().total() == len(rows) == len(found.of)
    near = set(facts_of(rows)[1](every))
    kept = [at for at, decision in enumerate(found.of) if decision.is_kept]
    for one in kept:
        for other in kept:
            numbers = (facts[one].number, facts[other].number)
            tied = numbers[0] == numbers[1] or tuple(sorted(numbers)) in near
            grouped = rows[one].group is not None and rows[one].group == rows[other].group
            if tied or grouped:
                assert found.of[one] is found.of[other]


@given(documents=inputs, chosen=choices)
@settings(max_examples=150)
def test_what_is_kept_holds_no_case_twice_and_no_split_that_was_not_given(
    documents: list[dict[str, Any]], chosen: Choices
) -> None:
    facts, pairs = facts_of(rows_of(documents))
    found = decide(facts, pairs, chosen)
    kept = [one for one, decision in zip(facts, found.of, strict=True) if decision.is_kept]
    cases = Counter((one.case, one.severity) for one in kept)
    assert set(cases.values()) <= {1}
    if chosen.conflicts is not ConflictSettling.KEEP:
        assert len({one.case for one in kept}) == len(kept)
    if not chosen.resplit:
        for one, decision in zip(facts, found.of, strict=True):
            assert not (one.verdict_id is None and one.split == "dev" and decision is RowDecision.TRAIN)
            assert not (one.verdict_id is None and one.split == "train" and decision is RowDecision.DEV)


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
