"""Features: stable, each once, and of one text whatever its company."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.text.passage_weights import BITS, hashed, plain, probe

TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=6)
HOSTILE = {
    "one character": "a" * 65536,
    "one mark": "\u0301" * 65536,
    "spaces": " \t\n" * 1000,
    "zero width": "\u200b\u200d\ufeff" * 1000,
    "NUL": "\0" * 1000,
    "lone surrogates": "\ud800\udfff" * 1000,
    "noncharacters": "\uffff\U0010ffff" * 1000,
}


def test_features_are_those_that_the_shipped_weights_were_learnt_with() -> None:
    """Whoever changes this number has to learn the weights again."""
    assert probe() == "sha256:224eaecf9bd35b4a3331231cbd0df3796fdd0dfedbfec7bf915f1d0f351458fa"


@given(TEXTS)
def test_a_text_has_the_same_features_in_any_company(texts: list[str]) -> None:
    plains = [plain(one) for one in texts]
    found = hashed(plains)
    assert found.starts[0] == 0
    assert found.starts[-1] == len(found.ids)
    for at, one in enumerate(plains):
        ids = found.ids[found.starts[at] : found.starts[at + 1]].tolist()
        assert ids == hashed([one]).ids.tolist()
        assert ids == sorted(set(ids))
        assert ids
        assert ids[-1] < 1 << BITS


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_have_few_features_and_no_fault(name: str) -> None:
    text = plain(HOSTILE[name])
    assert 1 <= len(hashed([text]).ids) <= 40


def test_what_a_text_repeats_counts_once() -> None:
    once, often = (set(hashed([plain(text)]).ids.tolist()) for text in ("good day", "good day " * 300))
    assert once < often
    assert len(often) < 2 * len(once)


@pytest.mark.parametrize(
    ("disguised", "meant"),
    [("ＷＯＲＴＨＬＥＳＳ", "worthless"), ("w\u200bor\u200bthless", "worthless"), ("1 of 20", "7 of 39")],
)
def test_a_disguise_is_folded_before_it_is_hashed(disguised: str, meant: str) -> None:
    assert plain(disguised) == plain(meant)
