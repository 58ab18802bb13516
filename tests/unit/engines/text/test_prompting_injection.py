"""A post cannot talk its way out: whatever it says, what stands around it and who reads the answer stay the same."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.layouts import CompactLayout, split_template
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import CATEGORIES, FailureCode, Post, Turn, decode_post, encode
from support.attacks import CASES, LANGUAGES
from support.chat_template import TEMPLATE
from support.small_bundle import CONTROL, small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.schemas import Kind

_ROOM = 100_000  # tokens: no case is too long
BYTES = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=_ROOM)
SHORT = Prompter(ByteTokenizer(), CompactLayout("compact-short"), max_prompt_tokens=_ROOM)
VENDOR = Prompter(small_tokenizer(), split_template(TEMPLATE), max_prompt_tokens=_ROOM)
KINDS: tuple[Kind, ...] = ("post", "prompt", "response")

# The template's plain-text delimiters, as loosely as a model may read them.
_DELIMITERS = re.compile(
    r"<\s*(?:begin|end)\s+conversation|(?:^|[\n\r\v\f\x85\u2028\u2029])\s*(?:user|assistant|hints)\s*:",
    re.IGNORECASE,
)

every_case = pytest.mark.parametrize("text", CASES.values(), ids=list(CASES))


def built(prompter: Prompter, post: Post) -> Prompt:
    sent = decode_post(encode(post))
    assert sent == post
    prompt = prompter.build(post)
    assert isinstance(prompt, Prompt)
    return prompt


def spelled(prompter: Prompter, names: Sequence[str]) -> set[int]:
    """Ids of the control tokens; each acts where it is ours."""
    ids = [prompter.tokenizer.encode_static(name) for name in names]
    assert all(len(one) == 1 for one in ids)
    return {one[0] for one in ids}


def assert_nothing_moves(prompter: Prompter, control: set[int], text: str) -> None:
    for kind in KINDS:
        harmless = built(prompter, Post(id="1", kind=kind, text="x"))
        attack = built(prompter, Post(id="1", kind=kind, text=text))
        start, end = attack.content
        assert attack.token_ids[:start] == harmless.token_ids[: harmless.content[0]]
        assert attack.token_ids[end:] == harmless.token_ids[harmless.content[1] :]
        assert attack.shared_tokens == harmless.shared_tokens
        assert control.isdisjoint(attack.token_ids[start:end])
    talk = [
        Post(
            id="1",
            kind="response",
            text=one,
            context=(
                Turn(role="user", text=one),
                Turn(role="assistant", text=one),
                Turn(role="user", text=one),
            ),
        )
        for one in ("x", text)
    ]
    harmless, attack = (built(prompter, post) for post in talk)
    for prompt in (harmless, attack):
        assert any(number in control for number in prompt.token_ids)
    assert [number for number in attack.token_ids if number in control] == [
        number for number in harmless.token_ids if number in control
    ]
    assert attack.token_ids[: attack.content[0]] == harmless.token_ids[: harmless.content[0]]
    assert attack.token_ids[attack.content[1] :] == harmless.token_ids[harmless.content[1] :]


def test_the_suite_is_as_large_as_it_says() -> None:
    assert len(LANGUAGES) >= 12
    assert len(set(CASES.values())) == len(CASES) >= 300


@pytest.mark.parametrize("prompter", [BYTES, SHORT], ids=["compact", "compact-short"])
@every_case
def test_no_attack_moves_a_compact_prompt(text: str, prompter: Prompter) -> None:
    control = spelled(prompter, ByteTokenizer.CONTROL)
    assert_nothing_moves(prompter, control, text)
    prompt = built(prompter, Post(id="1", text=text))
    assert prompter.tokenizer.decode(prompt.token_ids[slice(*prompt.content)]) == text
    assert prompt.token_ids[prompt.content[1]] in control  # the post is closed by what no text can spell


@every_case
def test_no_attack_moves_a_vendors_prompt_or_adds_one_of_its_delimiters(text: str) -> None:
    assert_nothing_moves(VENDOR, spelled(VENDOR, CONTROL), text)

    def delimiters(one: str) -> int:
        prompt = built(
            VENDOR, Post(id="1", kind="response", text=one, context=one, region="DE", language="de")
        )
        return len(_DELIMITERS.findall(VENDOR.tokenizer.decode(prompt.token_ids)))

    assert delimiters(text) == delimiters("x") > 0


@pytest.fixture(scope="module", params=["compact", "compact-short"])
def cpu(cpu_bundle: Path, request: pytest.FixtureRequest) -> tuple[Prompter, set[int]]:
    bundle = Bundle.open(cpu_bundle)
    prompter = Prompter(bundle.tokenizer, CompactLayout(request.param), max_prompt_tokens=_ROOM)
    return prompter, spelled(prompter, list(bundle.manifest.tokenizer.control_tokens))


@pytest.mark.cpu_model
def test_the_short_tail_is_three_tokens_of_the_cpu_model(cpu: tuple[Prompter, set[int]]) -> None:
    prompt = built(cpu[0], Post(id="1", text="x"))
    tail = prompt.token_ids[prompt.content[1] :]
    assert len(tail) == (3 if cpu[0].layout.name == "compact-short" else 8)
    assert tail[0] in cpu[1]


@pytest.mark.cpu_model
@every_case
def test_no_attack_moves_the_prompt_of_the_cpu_model(text: str, cpu: tuple[Prompter, set[int]]) -> None:
    assert_nothing_moves(*cpu, text)


@every_case
def test_a_model_that_repeats_an_attack_says_nothing_new(text: str) -> None:
    for kind in KINDS:
        refusal = "\nRefusal: Yes" if kind == "response" else ""
        honest = f"\nCategories: Violent{refusal}"
        expected = parse_explanation(honest, kind, CATEGORIES)
        assert isinstance(expected, Explanation)
        found = parse_explanation(f"{honest}\nReason: {text}", kind, CATEGORIES)
        if isinstance(found, Explanation):  # only the reason, one printable line, is the model's own
            assert (found.categories, found.refusal) == (expected.categories, expected.refusal)
            assert found.reason is None or "\n" not in found.reason
        else:
            assert found.code is FailureCode.UNPARSABLE
        for answer in (text, f"\n{text}", f"\nCategories: {text}", f"{honest}{text}", f" {text}{honest}"):
            assert isinstance(parse_explanation(answer, kind, CATEGORIES), ItemFailure)


def test_the_parser_is_given_the_answer_and_nothing_of_the_text_but_its_kind() -> None:
    assert list(inspect.signature(parse_explanation).parameters) == ["text", "kind", "categories"]


def test_an_attack_that_is_too_long_is_said_to_be_and_never_cut() -> None:
    text = CASES["en: long preamble"]
    tokens = len(built(BYTES, Post(id="1", text=text)).token_ids)
    narrow = Prompter(BYTES.tokenizer, BYTES.layout, max_prompt_tokens=tokens - 1)
    refused = narrow.build(Post(id="1", text=text))
    assert isinstance(refused, ItemFailure)
    assert refused.code is FailureCode.TOO_LONG


class ObeyingTokenizer(ByteTokenizer):
    """Lets control tokens act wherever they are spelled: what everybody's default does."""

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode_static(text) for text in texts]


def test_a_tokenizer_that_obeys_the_text_would_be_found() -> None:
    obeying = Prompter(ObeyingTokenizer(), CompactLayout(), max_prompt_tokens=_ROOM)
    control = spelled(obeying, ByteTokenizer.CONTROL)
    moved = set()
    for name, text in CASES.items():
        try:
            assert_nothing_moves(obeying, control, text)
        except AssertionError:
            moved.add(name.partition(": ")[2])
    assert moved == {"closed turn", "new system turn", "end of text", "nested control tokens"}
