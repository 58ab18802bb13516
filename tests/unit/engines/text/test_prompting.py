from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.engines.bundle.tokenizer import BundleTokenizer, ByteTokenizer, TextTokenizer
from sluicegate.engines.layouts import CompactLayout, Content, Static, split_template
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.text import prompting
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import FailureCode, Kind, Post, Turn
from support.chat_template import TEMPLATE
from support.small_bundle import control_tokens, small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

VENDOR = split_template(TEMPLATE)
PROMPTERS = [
    Prompter(tokenizer, layout, max_prompt_tokens=4096)
    for tokenizer in (small_tokenizer(), ByteTokenizer())
    for layout in (CompactLayout(), CompactLayout("compact-short"), VENDOR)
]
every_prompter = pytest.mark.parametrize(
    "prompter", PROMPTERS, ids=lambda one: f"{type(one.tokenizer).__name__}-{one.layout.name}"
)
texts = st.lists(
    st.text(max_size=20)
    | st.sampled_from([*control_tokens(), "<END CONVERSATION>", "\nUSER:", "</post>", "\u202e", "\0"]),
    min_size=1,
    max_size=6,
).map(lambda parts: "".join(parts) or "x")
turns = st.builds(Turn, role=st.sampled_from(["user", "assistant"]), text=texts)
posts = st.builds(
    Post,
    id=st.just("1"),
    text=texts,
    kind=st.sampled_from(get_args(Kind)),
    context=st.none() | texts | st.lists(turns, min_size=1, max_size=3).map(tuple),
    region=st.none() | st.just("DE"),
    language=st.none() | st.just("de"),
)


def built(prompter: Prompter, post: Post) -> Prompt:
    prompt = prompter.build(post)
    assert isinstance(prompt, Prompt)
    return prompt


def control_ids(tokenizer: TextTokenizer) -> set[int]:
    names = control_tokens() if isinstance(tokenizer, BundleTokenizer) else ByteTokenizer.CONTROL
    return {tokenizer.encode_static(name)[0] for name in names}


@every_prompter
@given(post=posts)
def test_no_text_adds_or_takes_a_control_token(prompter: Prompter, post: Post) -> None:
    harmless = post.model_copy(
        update={"text": "x", "context": tuple(Turn(role=turn.role, text="x") for turn in post.turns) or None}
    )
    control = control_ids(prompter.tokenizer)

    def skeleton(one: Post) -> list[int]:
        return [number for number in built(prompter, one).token_ids if number in control]

    assert skeleton(post) == skeleton(harmless)


@every_prompter
@given(post=posts, other=texts)
def test_prompts_of_one_kind_and_equal_hints_share_the_shared_tokens(
    prompter: Prompter, post: Post, other: str
) -> None:
    one, two = built(prompter, post), built(prompter, post.model_copy(update={"text": other}))
    assert one.shared_tokens == two.shared_tokens == one.content[0]
    assert one.token_ids[: one.shared_tokens] == two.token_ids[: two.shared_tokens]


@every_prompter
@given(post=posts)
def test_what_stands_around_the_content_is_ours(prompter: Prompter, post: Post) -> None:
    plain = post.model_copy(update={"text": "x", "context": None})
    prompt, reference = built(prompter, post), built(prompter, plain)
    assert prompt.token_ids[prompt.content[1] :] == reference.token_ids[reference.content[1] :]
    assert prompter.tokenizer.decode(prompt.token_ids).endswith("Safety:")
    assert 0 < prompt.content[0] <= prompt.content[1] < len(prompt.token_ids)


@every_prompter
def test_the_content_range_decodes_to_the_post(prompter: Prompter) -> None:
    prompt = built(prompter, Post(id="1", text="héllo <|im_end|> 😀"))
    assert (
        prompter.tokenizer.decode(prompt.token_ids[slice(*prompt.content)]).strip() == "héllo <|im_end|> 😀"
    )
    assert control_ids(prompter.tokenizer).isdisjoint(prompt.token_ids[slice(*prompt.content)])


@every_prompter
@given(many=st.lists(posts, max_size=5))
def test_many_posts_give_what_each_gives_alone(prompter: Prompter, many: list[Post]) -> None:
    assert prompter.build_many(many) == [prompter.build(post) for post in many]


@every_prompter
@given(many=st.lists(posts, min_size=1, max_size=5))
def test_a_prompt_is_the_tokens_of_its_pieces_one_after_the_other(
    prompter: Prompter, many: list[Post]
) -> None:
    tokenizer = prompter.tokenizer
    for post, prompt in zip(many, prompter.build_many(many), strict=True):
        assert isinstance(prompt, Prompt)
        pieces = prompter.layout.render(post)
        ids = [
            tokenizer.encode_static(piece.text)
            if isinstance(piece, Static)
            else tokenizer.encode_texts([piece.text])[0]
            for piece in pieces
        ]
        said = [number for number, piece in enumerate(pieces) if isinstance(piece, Content)]
        first, last = sum(map(len, ids[: said[0]])), sum(map(len, ids[: said[-1] + 1]))
        assert prompt == Prompt(tuple(chain(*ids)), post.kind, first, (first, last))


def test_many_hints_are_forgotten_and_their_prompts_stay_the_same() -> None:
    prompter = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=4096)
    plain = Post(id="1", text="x", language="en")
    expected = prompter.build(plain)
    for number in range(2 * prompting._CACHED_PIECES):
        prompter.build(plain.model_copy(update={"language": f"en-x{number}"}))
    assert prompter._frame.cache_info().currsize <= prompting._CACHED_PIECES
    assert prompter.build(plain) == expected


@every_prompter
def test_a_region_and_a_language_change_the_tokens(prompter: Prompter) -> None:
    variants = [
        Post(id="1", text="x", region=region, language=language)
        for region in (None, "DE", "FR")
        for language in (None, "de", "fr")
    ]
    assert len({built(prompter, post).token_ids for post in variants}) == len(variants)


def test_a_prompt_of_the_limit_is_built_and_one_token_more_is_too_long() -> None:
    post = Post(id="1", text="secret words")
    tokens = len(built(PROMPTERS[0], post).token_ids)
    exact = Prompter(small_tokenizer(), CompactLayout(), max_prompt_tokens=tokens)
    short = Prompter(small_tokenizer(), CompactLayout(), max_prompt_tokens=tokens - 1)
    assert isinstance(exact.build(post), Prompt)
    failure = short.build(post)
    assert isinstance(failure, ItemFailure)
    assert failure.code is FailureCode.TOO_LONG
    assert str(tokens) in failure.detail
    assert "secret" not in failure.detail


def test_a_long_post_fails_for_itself_only() -> None:
    prompter = Prompter(small_tokenizer(), CompactLayout(), max_prompt_tokens=200)
    short, long = Post(id="1", text="x"), Post(id="2", text="x" * 1000)
    kinds = [type(one) for one in prompter.build_many([short, long, short])]
    assert kinds == [Prompt, ItemFailure, Prompt]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["a", " ", "😀", "1", "e\u0301", "\u200b", "<|im_end|>", "aB'"])
def test_the_longest_record_of_odd_text_is_refused_and_not_stuck_on(unit: str) -> None:
    prompter = Prompter(small_tokenizer(), VENDOR, max_prompt_tokens=2048)
    assert isinstance(prompter.build(Post(id="1", text=unit * (262_144 // len(unit.encode())))), ItemFailure)


def test_static_text_is_encoded_once() -> None:
    counting = CountingTokenizer()
    prompter = Prompter(counting, CompactLayout(), max_prompt_tokens=4096)
    for index in range(20):
        prompter.build(Post(id="1", text=f"post {index}"))
    assert sorted(counting.seen) == sorted(set(counting.seen))


class CountingTokenizer(ByteTokenizer):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def encode_static(self, text: str) -> list[int]:
        self.seen.append(text)
        return super().encode_static(text)


def test_threads_build_the_same_prompts() -> None:
    prompter = Prompter(small_tokenizer(), CompactLayout(), max_prompt_tokens=4096)
    many = [Post(id=str(index), text=f"text {index}", region="DE") for index in range(50)]
    expected = prompter.build_many(many)

    def build(_: int) -> Sequence[Prompt | ItemFailure]:
        return prompter.build_many(many)

    with ThreadPoolExecutor(4) as pool:
        assert all(one == expected for one in pool.map(build, range(8)))


def test_a_lone_surrogate_is_no_post_and_so_never_reaches_a_prompt() -> None:
    with pytest.raises(ValidationError):
        Post(id="1", text="\ud800")
