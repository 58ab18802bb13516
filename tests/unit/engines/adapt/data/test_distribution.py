"""Balance: every row is counted once in each table, and what misleads a model is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.data.distribution import DIMENSIONS, FEW_ROWS, Distribution
from support.labelled import rows_of


def counted(*documents: dict[str, Any], split: str = "train") -> Distribution:
    distribution = Distribution()
    for one in rows_of({"text": "t", **document} for document in documents):
        distribution.add(one, "dev" if split == "dev" else "train")
    return distribution


def warned(distribution: Distribution, word: str) -> list[str]:
    return [warning for warning in distribution.warnings() if word in warning]


SAFE: dict[str, Any] = {"severity": "safe", "language": "en"}
UNSAFE: dict[str, Any] = {"severity": "unsafe", "language": "en", "categories": ["PII"]}


def test_a_table_has_rows_splits_and_severities_the_largest_first() -> None:
    distribution = counted(SAFE, {**UNSAFE, "language": "de"}, {**UNSAFE, "language": "de"})
    assert distribution.table("language") == {
        "de": {"rows": 2, "train": 2, "dev": 0, "safe": 0, "controversial": 0, "unsafe": 2},
        "en": {"rows": 1, "train": 1, "dev": 0, "safe": 1, "controversial": 0, "unsafe": 0},
    }
    assert list(distribution.table("language")) == ["de", "en"]
    assert distribution.severities()["train"] == {"safe": 1, "controversial": 0, "unsafe": 2}
    assert list(distribution.table("tenant")) == ["(not given)"]


documents = st.lists(
    st.fixed_dictionaries(
        {"severity": st.sampled_from(["safe", "controversial", "unsafe"])},
        optional={
            "language": st.sampled_from(["en", "zh"]),
            "licence": st.sampled_from(["MIT", "MIT (they say)"]),
            "source": st.sampled_from(["a", "b"]),
            "kind": st.sampled_from(["post", "prompt"]),
        },
    ),
    max_size=30,
)


@given(documents=documents)
def test_every_table_adds_up(documents: list[dict[str, Any]]) -> None:
    distribution = counted(*documents)
    for dimension in set(DIMENSIONS) - {"category"}:
        lines = distribution.table(dimension).values()
        assert sum(line["rows"] for line in lines) == len(documents)
        for line in lines:
            assert line["train"] + line["dev"] == line["rows"]
            assert line["safe"] + line["controversial"] + line["unsafe"] == line["rows"]
    harmful = sum(document["severity"] != "safe" for document in documents)
    assert sum(line["rows"] for line in distribution.table("category").values()) == harmful


def test_few_rows_and_an_empty_dev_are_warned_of() -> None:
    distribution = counted(SAFE, UNSAFE)
    assert warned(distribution, "below 5,000")
    assert warned(distribution, "dev is empty")
    enough = counted(*[SAFE, UNSAFE] * (FEW_ROWS // 2))
    assert not warned(enough, "below 5,000")
    assert not warned(counted(SAFE, split="dev"), "dev is empty")


def test_a_language_with_one_severity_only_is_warned_of() -> None:
    documents = [SAFE, UNSAFE] * 10 + [{**UNSAFE, "language": "it"}] * 20 + [{**SAFE, "language": "el"}] * 20
    distribution = counted(*documents)
    assert warned(distribution, "languages with unsafe rows only (it)")
    assert warned(distribution, "languages with safe rows only (el)")
    assert not warned(distribution, "(en")
    assert not warned(counted(*documents[:30]), "languages with")


def test_a_language_that_dev_lacks_is_warned_of() -> None:
    distribution = counted(SAFE, {**SAFE, "language": "it"})
    distribution.add(rows_of([{"text": "t", **SAFE}])[0], "dev")
    assert warned(distribution, "without a row in dev (it)")


def test_a_category_from_one_source_or_with_few_rows_is_warned_of() -> None:
    mine, yours = {**UNSAFE, "source": "mine"}, {**UNSAFE, "source": "yours", "categories": ["Violent"]}
    distribution = counted(*[mine, {**mine, "source": "yours"}] * 100, *[yours] * 150)
    assert warned(distribution, "fewer than 200 rows, too few to learn: Violent 150")
    assert warned(distribution, "categories from one source only (Violent)")
    assert not warned(counted(*[mine] * 300), "one source only")


def test_a_source_with_one_severity_only_is_warned_of() -> None:
    documents = [{**SAFE, "source": "calm"}] * 20 + [
        {**SAFE, "source": "both"},
        {**UNSAFE, "source": "both"},
    ] * 10
    assert warned(counted(*documents), "sources with safe rows only (calm)")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"severity": "unsafe"}, "1 harmful rows have no category"),
        ({"severity": "safe", "kind": "response"}, "1 responses do not say whether they refuse"),
        ({"severity": "safe"}, "1 rows have no licence"),
    ],
)
def test_what_rows_lack_is_counted(document: dict[str, Any], said: str) -> None:
    assert warned(counted(document), said)
    whole = {
        "severity": "unsafe",
        "categories": ["PII"],
        "kind": "response",
        "refusal": False,
        "licence": "MIT",
    }
    assert not warned(counted(whole), said[2:])
