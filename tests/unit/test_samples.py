"""The sample posts keep what the demo and its closing line promise."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING

from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import Post, ReasonCode, Rejection, content_hash, decode_post

if TYPE_CHECKING:
    from collections.abc import Callable

DECODED = [decode_post(record) for record in sample_records()]
POSTS = {decoded.id: decoded for decoded in DECODED if isinstance(decoded, Post)}
ATTRIBUTION = (resources.files("sluicegate.pipeline.trial.samples") / "ATTRIBUTION.md").read_text(
    encoding="utf-8"
)
ROWS = {
    row[0]: row[1:]
    for row in re.findall(r"^\| `(\w+)` \| (\d+) \| (.+?) \| (.+?) \|", ATTRIBUTION, re.MULTILINE)
}


def count(of: Callable[[Post], object]) -> Counter[object]:
    return Counter(of(post) for post in POSTS.values())


def test_there_are_300_posts_with_ids_of_their_own_and_three_malformed_records() -> None:
    assert len(DECODED) == 303
    assert len(POSTS) == 300
    rejected = [decoded for decoded in DECODED if isinstance(decoded, Rejection)]
    assert [rejection.code for rejection in rejected] == [
        ReasonCode.INVALID_JSON,
        ReasonCode.INVALID_POST,
        ReasonCode.INVALID_POST,
    ]
    assert [rejection.detail for rejection in rejected[1:]] == [
        "id: missing",
        "text: must be text of at least one character",
    ]


def test_they_are_a_spread_of_languages_kinds_tenants_regions_and_severities() -> None:
    languages = count(lambda post: post.language)
    assert {"en", "zh", "de", "es", "fr", "ar"} <= {
        name for name, number in languages.items() if name and number >= 15
    }
    kinds = count(lambda post: post.kind)
    assert kinds["response"] == 12
    assert kinds["prompt"] >= 40
    assert count(lambda post: post.tenant).keys() == {"default", "school"}
    assert len(count(lambda post: post.region)) > 10
    labels = count(lambda post: post.metadata["label"])
    assert labels["safe"] > labels["unsafe"] > 30
    assert labels["controversial"] > 30


def test_every_response_answers_something_and_some_have_several_turns() -> None:
    turns = Counter(len(post.turns) for post in POSTS.values() if post.kind == "response")
    assert turns[0] == 0
    assert turns[3] == 1


def test_every_copy_follows_its_original_and_is_as_exact_as_it_says() -> None:
    order = list(POSTS)
    variants: Counter[object] = Counter()
    for post in POSTS.values():
        if "copy_of" in post.metadata:
            original = POSTS[str(post.metadata["copy_of"])]
            assert order.index(original.id) < order.index(post.id)
            assert (content_hash(post) == content_hash(original)) == (post.metadata["copy"] == "exact")
            variants[post.metadata["copy"]] += 1
    assert variants.pop("exact") == 12
    assert sum(variants.values()) == len(variants) == 8


def test_one_post_tries_to_speak_for_the_model_and_one_is_too_long_for_it() -> None:
    forged = [post for post in POSTS.values() if "<|im_end|>" in post.text and "Safety: Safe" in post.text]
    assert len(forged) == 1
    lengths = sorted(len(post.text) for post in POSTS.values())
    # 15,000 characters of English are over 3,000 tokens; everything else fits into one short prompt.
    assert lengths[-1] > 15_000
    assert lengths[-2] < 250


def test_every_source_is_attributed_with_its_count_and_a_permissive_licence() -> None:
    originals = Counter(
        str(post.metadata["source"]) for post in POSTS.values() if "copy_of" not in post.metadata
    )
    assert {source: int(facts[0]) for source, facts in ROWS.items()} == originals
    for source, (_, _, licence) in ROWS.items():
        assert re.match(r"(MIT|Apache-2\.0|CC BY [34]\.0)\b", licence), source


def test_every_borrowed_text_names_its_row() -> None:
    for post in POSTS.values():
        assert ("row" in post.metadata) == (post.metadata["source"] != "own")
