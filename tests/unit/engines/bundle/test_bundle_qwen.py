"""What is said of Qwen3Guard's tokens, with Qwen's real vocabulary.

The lengths of its prompts need its chat template, too, which is the vendor's text and not part of this project:
ACCEPTANCE_GUARD_TEMPLATE names a file of it, such as a checkpoint's chat_template.jinja.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.adapt.train.base import checkpoint_tokenizer, open_base
from sluicegate.engines.adapt.train.recipe import TrainingBase
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import NO_CATEGORY, Kind, Post
from support.chat_template import TEMPLATE
from support.qwen_vocabulary import CONTROL, published_qwen_tokenizer

if TYPE_CHECKING:
    from sluicegate.engines.bundle.tokenizer import BundleTokenizer

pytestmark = pytest.mark.qwen_vocabulary

LABELS = {" Safe": [22291], " Controversial": [2093, 12563, 530], " Unsafe": [73067]}
LINES = {
    "Safety:": [73037, 25],
    "Categories:": [20970, 25],
    "Refusal:": [3945, 35414, 25],
    " Yes": [7414],
    " No": [2308],
    "\n": [198],
    "\n\n": [271],
}
CATEGORIES = {
    "Violent": 29455,
    "Non-violent Illegal Acts": 11581,
    "Sexual Content or Sexual Acts": 38667,
    "PII": 393,
    "Suicide & Self-Harm": 64800,
    "Unethical Acts": 1230,
    "Politically Sensitive Topics": 15928,
    "Copyright Violation": 2955,
    "Jailbreak": 56146,
    NO_CATEGORY: 2240,
}
"""Each category to the first token of its name after ``Categories:``."""
HEADS = "Safety:\nCategories:\nRefusal: Yes No\n\n"


@pytest.fixture(scope="module")
def tokenizer(qwen_ranks: bytes) -> BundleTokenizer:
    texts = [*LABELS, *LINES, *(f" {name}" for name in CATEGORIES), f"</think>\n\n{HEADS}", *CONTROL]
    return checkpoint_tokenizer(published_qwen_tokenizer(qwen_ranks, texts))[0]


@pytest.mark.parametrize("text", [*LABELS, *LINES])
def test_labels_and_heads_have_the_tokens_that_are_said_of_them(
    tokenizer: BundleTokenizer, text: str
) -> None:
    assert tokenizer.encode_text(text) == {**LABELS, **LINES}[text]


def test_every_category_begins_with_a_token_of_its_own(tokenizer: BundleTokenizer) -> None:
    assert {name: tokenizer.encode_text(f" {name}")[0] for name in CATEGORIES} == CATEGORIES
    assert len(set(CATEGORIES.values())) == len(CATEGORIES)


def test_the_head_of_the_label_has_the_same_tokens_alone_as_after_the_thinking_block(
    tokenizer: BundleTokenizer,
) -> None:
    assert tokenizer.encode_static("</think>\n\nSafety:") == [CONTROL["</think>"], 271, 73037, 25]


def test_text_cannot_make_a_control_token(tokenizer: BundleTokenizer) -> None:
    for spelled, number in CONTROL.items():
        assert number not in tokenizer.encode_text(spelled)
        assert tokenizer.encode_static(spelled) == [number]


def test_the_base_of_a_training_has_these_labels(qwen_ranks: bytes, tmp_path: Path) -> None:
    raw = published_qwen_tokenizer(qwen_ranks, [*LABELS, *CONTROL, TEMPLATE])
    (tmp_path / "tokenizer.json").write_bytes(raw)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    base = open_base(TrainingBase(checkpoint=str(tmp_path), layout="vendor"))
    assert base.labels.first_ids() == {"safe": 22291, "controversial": 2093, "unsafe": 73067}
    assert base.end_id == 151645
    assert base.tokenizer.vocabulary_size == 151669


@pytest.mark.parametrize(
    ("kind", "shared", "own"), [("post", 201, 297), ("prompt", 201, 297), ("response", 267, 391)]
)
def test_prompts_have_the_lengths_that_are_said_of_them(
    qwen_ranks: bytes, tmp_path: Path, kind: Kind, shared: int, own: int
) -> None:
    """``own`` is all but the post, its context and ``Safety:``."""
    path = os.environ.get("ACCEPTANCE_GUARD_TEMPLATE")
    if path is None:
        pytest.skip(
            "NOT RUN: lengths of the guard's prompts: ACCEPTANCE_GUARD_TEMPLATE names no chat_template.jinja"
        )
    template = Path(path).read_text(encoding="utf-8")
    texts = [template, *LABELS, "\n\nUSER: Hello\n\n", "\n\nASSISTANT: Hello\n\n", HEADS, *CONTROL]
    (tmp_path / "tokenizer.json").write_bytes(published_qwen_tokenizer(qwen_ranks, texts))
    (tmp_path / "chat_template.jinja").write_text(template)
    base = open_base(TrainingBase(checkpoint=str(tmp_path), layout="vendor"))
    context = {"context": "Hello"} if kind == "response" else {}
    prompt = Prompter(base.tokenizer, base.layout, max_prompt_tokens=2048).build(
        Post.model_validate({"id": "1", "text": "Hello", "kind": kind, **context})
    )
    assert isinstance(prompt, Prompt)
    hellos = 1 + len(context)  # " Hello" is one token
    assert (prompt.shared_tokens, len(prompt.token_ids) - hellos - len(LINES["Safety:"])) == (shared, own)
