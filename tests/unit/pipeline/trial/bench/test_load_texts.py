"""What is sent: ids that are ours, texts that no cache has seen, floods of near copies."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import orjson
import pytest

from sluicegate.pipeline.errors import BenchError
from sluicegate.pipeline.trial.bench.load import Shape, mutated, plan_arrivals, renamed, values
from sluicegate.schemas import Post, ReasonCode, decode_post

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = [
    b'{"id": "a", "text": "short", "tenant": "school", "label": {"severity": "safe"}}',
    b"no json",
    b'{"id": "b", "text": "a text of more than twenty characters", "kind": "prompt"}',
]


def sent(shape: Shape, posts: int, lines: list[bytes] = LINES) -> list[bytes]:
    arrivals = plan_arrivals(shape, rate=10, duration_s=1e5, seed=5, posts=posts)
    return list(values(lambda: iter(lines), arrivals, lambda number: f"bench-x-{number}"))


def test_posts_keep_what_they_are_and_get_an_id_of_the_run() -> None:
    first, broken, second = sent(Shape.CONSTANT, 3)
    assert decode_post(first) == Post(id="bench-x-0", text="short", tenant="school")
    assert broken == b"no json"
    assert decode_post(second) == Post(
        id="bench-x-2", text="a text of more than twenty characters", kind="prompt"
    )


def test_a_text_that_comes_round_again_is_another_text_each_time() -> None:
    texts = [orjson.loads(value)["text"] for value in sent(Shape.CONSTANT, 9)[::3]]
    assert texts == ["short", "short (2)", "short (3)"]


def test_lines_that_are_no_post_stay_as_broken_as_they_were() -> None:
    assert renamed(b"[1]", "x", 1) == b"[1]"
    assert decode_post(renamed(b'{"text": ""}', "x", 1)).code is ReasonCode.EMPTY_TEXT  # type: ignore[union-attr]  # a rejection
    deep = b'{"id": "a", "metadata": ' + b"[" * 500 + b"]" * 500 + b"}"
    assert renamed(deep, "x", 0) == deep


def test_a_flood_is_many_different_copies_of_one_text_among_the_others() -> None:
    copied = plan_arrivals(Shape.FLOOD, rate=10, duration_s=1e5, seed=5, posts=300).copied
    posts = [orjson.loads(value) for value in sent(Shape.FLOOD, 300, [LINES[0], LINES[2]])]
    assert len({post["id"] for post in posts}) == 300
    flood = [post for post, is_copy in zip(posts, copied, strict=True) if is_copy]
    others = [post for post, is_copy in zip(posts, copied, strict=True) if not is_copy]
    assert {post["kind"] for post in flood} == {"prompt"}
    assert len({post["text"] for post in flood}) > 0.6 * len(flood) > 60
    assert {post["text"].partition(" (")[0] for post in others} == {
        "short",
        "a text of more than twenty characters",
    }


@pytest.mark.parametrize("text", ["x", "a text of some length", "可以叠涂或薄涂", "😀"])
def test_a_copy_differs_by_a_few_characters_and_never_is_empty(text: str) -> None:
    rng = random.Random(1)
    for _ in range(200):
        copy = mutated(text, rng)
        assert copy
        assert abs(len(copy) - len(text)) <= 4
        assert copy.encode()


def test_a_file_without_lines_is_refused() -> None:
    def nothing() -> Iterator[bytes]:
        return iter(())

    arrivals = plan_arrivals(Shape.CONSTANT, rate=10, duration_s=1, seed=0)
    with pytest.raises(BenchError, match="no lines"):
        list(values(nothing, arrivals, str))


def test_a_flood_without_any_text_is_one_all_the_same() -> None:
    assert all(b"text" in value or value == b"7" for value in sent(Shape.FLOOD, 60, [b"7"]))
