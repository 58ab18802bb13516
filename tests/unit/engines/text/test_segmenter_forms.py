"""The segmenter with folding: what is judged beside the original, and what never costs it its judgement."""

from __future__ import annotations

from typing import Any

import pytest

from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.prompting import Prompter
from sluicegate.engines.text.segmenter import LengthLimits, Part, Parts, Segmenter
from sluicegate.schemas import Post, Turn

WIDE = LengthLimits(tokens=1_000_000, segments=1_000)
PROMPTER = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=500)
SENTENCES = "".join(
    f"An ordinary sentence of some length stands here, number {number}. " for number in range(40)
)


def build(text: str, limit: LengthLimits = WIDE, *, folds: bool = True, **fields: object) -> Parts:
    post = Post.model_validate({"id": "p", "text": text, **fields})
    (found,) = Segmenter(PROMPTER, folds=folds).build_many([post], [limit])
    assert isinstance(found, Parts)
    return found


def read(part: Part) -> str:
    return PROMPTER.tokenizer.decode(part.prompt.token_ids)


def test_a_folded_form_is_one_more_part_with_the_prompt_of_the_folded_text() -> None:
    found = build("I will k1ll you")
    original, folded = found.parts
    assert (original.folded, folded.folded, found.rules) == (False, True, ("leet",))
    assert folded.prompt == PROMPTER.build(Post(id="p", text="I will kill you"))
    assert (folded.start, folded.end) == (0, len("I will kill you"))


@pytest.mark.parametrize("text", ["I will call you", "Ｔ应该比Ｐ好", "\ufeffhello", "\u200b\u200b"])
def test_what_does_not_differ_in_substance_is_one_part(text: str) -> None:
    found = build(text)
    assert (len(found.parts), found.rules) == (1, ())


def test_without_folding_there_is_the_original_alone() -> None:
    assert build("I will k1ll you", folds=False) == Parts((build("I will k1ll you").parts[0],))


def test_the_context_is_judged_as_it_came() -> None:
    found = build("k1ll", kind="response", context=[Turn(role="user", text="b0mb")])
    assert all("b0mb" in read(part) for part in found.parts)


def test_of_a_long_text_only_the_segments_that_changed_are_judged_again() -> None:
    plain = build(SENTENCES)
    found = build(SENTENCES + "I will k1ll you.")
    again = [part for part in found.parts if part.folded]
    assert len(plain.parts) > 5
    assert 1 <= len(again) < 3
    assert "kill" in read(again[-1])
    assert (
        fold(SENTENCES + "I will k1ll you.")
        .text[again[-1].start : again[-1].end]
        .endswith("I will kill you.")
    )


def test_a_text_that_takes_all_segments_leaves_its_folded_form_as_many() -> None:
    text = "I will k1ll you. " + SENTENCES
    needed = len(build(text, folds=False).parts)
    found = build(text, LengthLimits(WIDE.tokens, needed))
    assert [part for part in found.parts if not part.folded] == list(build(text, folds=False).parts)
    assert "kill" in read(found.parts[needed])


def test_a_post_that_fails_gets_no_folded_form() -> None:
    post = Post(id="p", text="k1ll " * 400)
    (found,) = Segmenter(PROMPTER, folds=True).build_many([post], [LengthLimits(100, 100)])
    assert isinstance(found, ItemFailure)


def test_a_folded_form_may_be_longer_but_not_so_long_that_nobody_reads_it() -> None:
    text = "\U0001d160" * 6 + " k1ll"  # a note in one character is three: head, stem and flag
    folded, limit = fold(text).text, len(text.encode())
    assert len(folded.encode()) > 2 * limit
    (found,) = Segmenter(PROMPTER, folds=True).build_many([Post(id="p", text=text)], [LengthLimits(limit, 9)])
    assert isinstance(found, ItemFailure)
    assert found.detail.startswith("folded form: ")
    enough = build(text, LengthLimits(len(folded.encode()) // 2 + 1, 9))
    assert [part.folded for part in enough.parts] == [False, True]


def test_posts_keep_their_order_and_their_own_folded_forms() -> None:
    texts = ["k1ll", "good morning", "b0mb", "x" * 3000, "f.u.c.k"]
    posts = [Post(id=str(number), text=text) for number, text in enumerate(texts)]
    found = Segmenter(PROMPTER, folds=True).build_many(posts, [WIDE] * len(posts))
    for text, parts in zip(texts, found, strict=True):
        assert isinstance(parts, Parts)
        folded = [read(part) for part in parts.parts if part.folded]
        assert bool(folded) == fold(text).differs
        assert all(fold(text).text in prompt for prompt in folded)


def test_where_nothing_that_a_reader_sees_is_folded_the_folded_form_is_asked_about_alone() -> None:
    found = build("I will k\u200bi\u200bll you")
    (part,) = found.parts
    assert part.prompt == PROMPTER.build(Post(id="p", text="I will kill you"))
    assert (part.folded, part.end, found.rules) == (True, len("I will kill you"), ("invisible",))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("I will k\u200bi\u200bll you", {"kind": "prompt"}),
        ("I will k\u200bi\u200bll you", {"kind": "response"}),
        ("I will \u200bk\u200b1ll you", {}),  # a reader sees the digit
        ("I will k\u00adill you", {}),  # a hyphen that may be seen at the end of a line
        ("I will k\U000e0041ill you", {}),  # a tag, which may carry a text
        ("\ua98f\u200c\ua98f\ua9b6 you", {}),  # a joiner that changes a letter of Javanese
    ],
)
def test_both_forms_are_asked_about_where_somebody_may_read_the_other_one(
    text: str, fields: dict[str, Any]
) -> None:
    assert [part.folded for part in build(text, **fields).parts] == [False, True]


def test_a_long_text_with_unseen_characters_is_cut_in_its_folded_form() -> None:
    found = build(SENTENCES.replace("sentence", "sen\u200btence"))
    plain = build(SENTENCES)
    assert [part.prompt for part in found.parts] == [part.prompt for part in plain.parts]
    assert all(part.folded for part in found.parts)
