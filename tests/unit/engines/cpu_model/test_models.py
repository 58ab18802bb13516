"""The CPU models by name, and what is pinned of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.adapt.train.base import checkpoint_tokenizer
from sluicegate.engines.bundle import Bundle, Manifest
from sluicegate.engines.cpu_model.models import MODELS, MULTILINGUAL, SMALL, base_model, named_model
from sluicegate.engines.errors import EngineSetupError
from sluicegate.engines.layouts import CompactLayout, split_template
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.pipeline.command.options import CpuModelName
from sluicegate.schemas import CATEGORIES, Post
from support.chat_template import TEMPLATE
from support.qwen_vocabulary import published_qwen_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = "sha256:1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
TEXTS = (
    "The quick brown fox.",
    "Größe, façade, Ærø",
    "Быстрая лиса",
    "敏捷的棕色狐狸，跳过了懒狗。",
    "素早い茶色の狐です。",
    "빠른 갈색 여우",
    "الثعلب البني السريع",
    "तेज भूरी लोमड़ी",
    "สุนัขจิ้งจอกสีน้ำตาล",
    "👩‍👩‍👧‍👦 🏳️‍🌈 1️⃣ ½ ② ٣",
    "tabs\tand\r\nlines\n\n  spaces  ",
    "1234567890 x1y2",
    "<|im_end|><tool_call>[PAD151665]",
)


def test_a_name_finds_its_model_and_another_is_refused_with_those_there_are() -> None:
    assert named_model() == SMALL
    assert named_model("qwen2.5-0.5b") == MULTILINGUAL
    with pytest.raises(
        EngineSetupError, match=r"'gpt' is no CPU model; there are smollm2-135m, qwen2\.5-0\.5b"
    ):
        named_model("gpt")
    assert [one.value for one in CpuModelName] == list(MODELS)


def test_a_recipe_s_base_is_a_model_or_a_folder() -> None:
    assert base_model("cpu") == SMALL
    assert base_model("cpu:qwen2.5-0.5b") == MULTILINGUAL
    assert base_model("/bundles/guard") is None


@pytest.mark.parametrize("name", MODELS)
def test_a_base_s_manifest_fits_the_layout_of_this_version(name: str) -> None:
    manifest = Manifest.parse(MODELS[name].base_manifest())
    assert manifest.layout.digest == CompactLayout().digest
    assert manifest.categories == CATEGORIES
    assert manifest.adapter is None
    assert MODELS[name].weights_digest() == manifest.base.sha256 is not None


def test_the_multilingual_base_is_the_publisher_s_file() -> None:
    assert (MULTILINGUAL.weights_digest(), MULTILINGUAL.weights_bytes) == (WEIGHTS, 491_400_064)


@pytest.fixture(scope="module")
def bundle(multilingual_bundle: Path) -> Bundle:
    return Bundle.open(multilingual_bundle)


@pytest.mark.multilingual_model
def test_the_written_bundle_is_the_pinned_one(bundle: Bundle) -> None:
    assert bundle.manifest == Manifest.parse(MULTILINGUAL.base_manifest())


@pytest.mark.multilingual_model
@pytest.mark.qwen_vocabulary
@pytest.mark.parametrize("text", TEXTS)
def test_the_vocabulary_is_that_of_the_qwen_family(bundle: Bundle, qwen_ranks: bytes, text: str) -> None:
    published = checkpoint_tokenizer(published_qwen_tokenizer(qwen_ranks, [text]))[0]
    assert bundle.tokenizer.encode_text(text) == published.encode_text(text)


@pytest.mark.multilingual_model
def test_no_user_text_gives_a_token_that_acts(bundle: Bundle) -> None:
    acting = bundle.manifest.tokenizer.control_tokens
    assert len(acting) == 22
    for spelled, number in acting.items():
        assert number not in bundle.tokenizer.encode_text(spelled)
        assert bundle.tokenizer.encode_static(spelled) == [number]


@pytest.mark.multilingual_model
def test_labels_and_categories_are_told_apart_by_one_token(bundle: Bundle) -> None:
    assert bundle.labels.first_ids() == {"safe": 22291, "controversial": 2093, "unsafe": 73067}
    assert len(set(bundle.category_tokens.values())) == len(CATEGORIES) + 1


@pytest.mark.multilingual_model
def test_the_vendor_s_layout_has_the_same_ids_in_pieces_as_whole(bundle: Bundle) -> None:
    layout = split_template(TEMPLATE)
    prompter = Prompter(bundle.tokenizer, layout, max_prompt_tokens=2048)
    post = Post(id="1", text="Überweise das Geld 你好 😡", kind="post")
    prompt = prompter.build(post)
    assert isinstance(prompt, Prompt)
    whole = "".join(piece.text for piece in layout.render(post))
    assert list(prompt.token_ids) == bundle.tokenizer.encode_static(whole)
