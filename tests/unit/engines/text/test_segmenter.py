from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.layouts import CompactLayout, split_template
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.prompting import Passage, Prompter
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.schemas import FailureCode, Post, Turn
from support.chat_template import TEMPLATE

WIDE = LengthLimits(tokens=1_000_000, segments=10_000)


def make(limit: int = 400) -> tuple[Segmenter, Prompter]:
    prompter = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=limit)
    return Segmenter(prompter), prompter


def cut(post: Post, limit: int = 400, limits: LengthLimits = WIDE) -> Parts | ItemFailure:
    return make(limit)[0].build_many([post], [limits])[0]


def parts_of(post: Post, limit: int = 400) -> Parts:
    found = cut(post, limit)
    assert isinstance(found, Parts)
    return found


def test_a_post_that_fits_is_one_part_with_the_prompt_it_always_had() -> None:
    post = Post(id="p", text="short")
    found = parts_of(post)
    (part,) = found.parts
    assert part.prompt == make()[1].build(post)
    assert (part.start, part.end, found.context_cut_characters) == (0, 5, 0)


def test_segments_end_at_sentences_and_overlap() -> None:
    text = "".join(f"This is sentence number {number:03}. " for number in range(300))
    found = parts_of(Post(id="p", text=text), 1500)
    assert len(found.parts) > 5
    for part in found.parts[:-1]:
        assert text[: part.end].rstrip().endswith(".")
    for before, after in pairwise(found.parts):
        assert before.start < after.start < before.end < after.end


@settings(max_examples=60)
@given(
    text=st.text(
        st.one_of(st.sampled_from(" .!?\n。ab"), st.characters(exclude_categories=["Cs"])),
        min_size=300,
        max_size=3000,
    ),
    limit=st.integers(330, 700),
)
def test_parts_cover_every_character_and_every_prompt_fits(text: str, limit: int) -> None:
    found = cut(Post(id="p", text=text), limit)
    assert isinstance(found, Parts)
    assert found.parts[0].start == 0
    assert found.parts[-1].end == len(text)
    for part in found.parts:
        assert len(part.prompt.token_ids) <= limit
    for before, after in pairwise(found.parts):
        assert before.start < after.start <= before.end < after.end


@pytest.mark.parametrize("length", range(3000, 9000, 250))
def test_seams_overlap_even_where_a_text_has_no_boundary(length: int) -> None:
    found = parts_of(Post(id="p", text="x" * length), 1000)
    for before, after in pairwise(found.parts):
        assert after.start < before.end


def test_a_text_without_any_boundary_is_still_read_whole() -> None:
    found = parts_of(Post(id="p", text="x" * 5000))
    assert {number for part in found.parts for number in range(part.start, part.end)} == set(range(5000))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (LengthLimits(tokens=1000, segments=1000), "tokens"),
        (LengthLimits(tokens=10**6, segments=2), "segments"),
    ],
)
def test_beyond_the_tenants_limits_is_too_long(limits: LengthLimits, said: str) -> None:
    found = cut(Post(id="p", text="word. " * 1000), limits=limits)
    assert isinstance(found, ItemFailure)
    assert found.code is FailureCode.TOO_LONG
    assert said in found.detail
    assert "word" not in found.detail


def test_a_long_context_is_cut_from_its_oldest_side_and_the_cut_is_counted() -> None:
    turns = tuple(Turn(role="user", text=f"turn {number} " + "y" * 60) for number in range(20))
    post = Post(id="p", text="the answer", kind="response", context=turns)
    found = parts_of(post)
    (part,) = found.parts
    seen = ByteTokenizer().decode(part.prompt.token_ids)
    assert "turn 19" in seen
    assert "turn 0 " not in seen
    assert "the answer" in seen
    kept = sum(len(turn.text) for turn in turns if turn.text in seen)
    assert found.context_cut_characters == sum(len(turn.text) for turn in turns) - kept


def test_of_one_turn_that_is_too_long_the_end_is_kept() -> None:
    post = Post(id="p", text="the answer", kind="response", context="old " * 500 + "new")
    found = parts_of(post)
    seen = ByteTokenizer().decode(found.parts[0].prompt.token_ids)
    assert "new" in seen
    assert found.context_cut_characters > 1000


def test_a_long_answer_to_a_long_question_keeps_both() -> None:
    post = Post(id="p", text="answer. " * 300, kind="response", context="question? " * 300)
    found = parts_of(post)
    assert len(found.parts) > 5
    assert all("question?" in ByteTokenizer().decode(part.prompt.token_ids) for part in found.parts)


def test_no_control_token_comes_out_of_a_seam() -> None:
    text = "a" * 250 + "<|im_end|>" * 200
    for part in parts_of(Post(id="p", text=text)).parts:
        first, last = part.prompt.content
        assert max(part.prompt.token_ids[first:last]) < 256


@pytest.mark.timeout(60)  # quadratic matching on these takes minutes
@pytest.mark.parametrize("text", ["." * 200_000, "a. " * 80_000, "\n" * 200_000, "x" * 250_000])
def test_hostile_shapes_cost_no_more_than_their_length(text: str) -> None:
    found = cut(Post(id="p", text=text), 4096)
    assert isinstance(found, Parts)
    assert found.parts[-1].end == len(text)


def test_a_text_full_of_the_layouts_own_words_is_cut_like_any_other() -> None:
    prompter = Prompter(ByteTokenizer(), split_template(TEMPLATE), max_prompt_tokens=4096)
    text = "".join(f"User: question {number}\nAssistant: answer {number}\n" for number in range(1000))
    turns = (Turn(role="user", text=text[:20_000]),)
    for post in (Post(id="p", text=text), Post(id="p", text="x", context=turns)):
        (found,) = Segmenter(prompter).build_many([post], [WIDE])
        assert isinstance(found, Parts)
        assert all(len(part.prompt.token_ids) <= 4096 for part in found.parts)


class Marked:
    """Finds what stands between two signs."""

    def riskiest(self, text: str) -> list[Passage]:
        first, end = text.find("<"), text.find(">")
        return [Passage(first, end + 1)] if end > first >= 0 else []


def build_marked(post: Post, limits: LengthLimits = WIDE, *, folds: bool = False) -> Parts:
    prompter = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=400)
    (found,) = Segmenter(prompter, folds=folds, passages=Marked()).build_many([post], [limits])
    assert isinstance(found, Parts)
    return found


def test_a_passage_is_a_part_beside_the_whole() -> None:
    post = Post(id="p", text="before <within> after", region="DE", language="de")
    whole, passage = build_marked(post).parts
    assert (whole.start, whole.end) == (0, len(post.text))
    assert post.text[passage.start : passage.end] == "<within>"
    assert passage.prompt == make()[1].build(post.model_copy(update={"text": "<within>"}))


def test_every_passage_is_a_part_that_carries_its_bar() -> None:
    class Two:
        def riskiest(self, text: str) -> list[Passage]:
            return [Passage(0, 3, 0.25), Passage(4, len(text))]

    prompter = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=400)
    (found,) = Segmenter(prompter, passages=Two()).build_many([Post(id="p", text="one two")], [WIDE])
    assert isinstance(found, Parts)
    assert [(part.start, part.end) for part in found.parts] == [(0, 7), (0, 3), (4, 7)]
    assert found.least_unsafe == {1: 0.25}


def test_a_text_that_takes_all_segments_still_has_its_passage() -> None:
    text = "<within> " + "An ordinary sentence. " * 60
    needed = len(parts_of(Post(id="p", text=text)).parts)
    parts = build_marked(Post(id="p", text=text), LengthLimits(WIDE.tokens, needed)).parts
    assert len(parts) == needed + 1
    assert (parts[-1].start, parts[-1].end) == (0, 8)


def test_a_passage_is_read_beside_its_context_as_far_as_that_fits() -> None:
    turn = Turn(role="user", text="Why?")
    short = Post(id="p", kind="response", text="before <within>", context=(turn,))
    assert build_marked(short).parts[-1].prompt == make()[1].build(
        short.model_copy(update={"text": "<within>"})
    )
    long = short.model_copy(update={"context": (Turn(role="user", text="y" * 800),)})
    found = build_marked(long)
    assert found.turns is not None
    assert sum(len(turn.text) for turn in found.turns) == 800 - found.context_cut_characters
    beside = long.model_copy(update={"text": "<within>", "context": found.turns})
    assert found.parts[-1].prompt == make()[1].build(beside)


def test_a_passage_with_a_bar_does_not_stand_for_the_folded_form_that_has_none() -> None:
    class Doubted:
        def riskiest(self, text: str) -> list[Passage]:
            end = text.find("\u0336")
            return [Passage(0, end, 0.4)] if end > 0 else []

    text = "I will kill you" + "\u0336" * 9  # folding gives what the passage is
    prompter = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=400)
    segmenter = Segmenter(prompter, folds=True, passages=Doubted())
    (found,) = segmenter.build_many([Post(id="p", text=text)], [WIDE])
    assert isinstance(found, Parts)
    whole, passage, folded = found.parts
    assert (whole.folded, passage.least_unsafe) == (False, 0.4)
    assert (folded.folded, folded.least_unsafe, folded.prompt) == (True, 0.0, passage.prompt)


def test_a_folded_form_has_its_own_passage() -> None:
    found = build_marked(Post(id="p", text="before <k1ll you> after"), folds=True)
    assert [(part.folded, part.end - part.start) for part in found.parts] == [
        (False, 23),
        (False, 10),
        (True, 23),
        (True, 10),
    ]


def test_a_post_that_fails_has_no_passage() -> None:
    prompter = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=400)
    segmenter = Segmenter(prompter, passages=Marked())
    (found,) = segmenter.build_many([Post(id="p", text="<a>" * 90)], [LengthLimits(100, 100)])
    assert isinstance(found, ItemFailure)
