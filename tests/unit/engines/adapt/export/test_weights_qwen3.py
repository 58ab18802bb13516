"""A merged checkpoint's numbers, on a tiny Qwen3 of chance with the vendor layout and Qwen3's own label ids.

What serving computes from logits is held against plain generation by transformers.
"""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest

from sluicegate.engines.adapt.export.export import WantedExport, export
from sluicegate.engines.adapt.train.base import open_base
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from sluicegate.engines.backends.dialects import CATEGORY_HEAD, Vocabulary
from sluicegate.engines.backends.dialects.base import category_scores
from sluicegate.engines.backends.tensorrt_llm import AnswerReader
from sluicegate.engines.backends.trtllm.border import Asked
from sluicegate.engines.backends.trtllm.serving import Serving
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import ExportError
from sluicegate.engines.protocol import Prompt, Scored
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import CATEGORIES, NO_CATEGORY, Post
from support.chat_template import TEMPLATE
from support.qwen_vocabulary import CONTROL, published_qwen_tokenizer
from support.trtllm_bundle import small_serving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [
    pytest.mark.adapt,
    pytest.mark.qwen_vocabulary,
    pytest.mark.filterwarnings("default::FutureWarning", "default::UserWarning"),
]

VOCABULARY = 151_936
LABELS = {"safe": 22291, "controversial": 2093, "unsafe": 73067}
TEXTS = ["Hello there", "I will find you, and your cat.", "一句话"]
CLOSE = 1e-4
"""Probabilities in float32 by two ways of adding up."""


class Merged(NamedTuple):
    """An exported checkpoint, and what it was made of."""

    bundle: Bundle
    model: Any
    tokenizer: Any
    """transformers' own, from the exported folder."""
    adapter: Path
    recipe: TrainingRecipe


def write_checkpoint(folder: Path, ranks: bytes) -> Path:
    import torch  # noqa: PLC0415 - gigabytes
    from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415

    names = [f" {name}" for name in (*CATEGORIES, NO_CATEGORY)]
    texts = [TEMPLATE, " Safe Controversial Unsafe", "Safety:\nCategories:", *names, *CONTROL, *TEXTS]
    torch.manual_seed(3)
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.2,  # with the usual 0.02 all tokens would be about equally likely
    }
    model = Qwen3ForCausalLM(Qwen3Config(**sizes, tie_word_embeddings=False))
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(published_qwen_tokenizer(ranks, texts))
    (folder / "tokenizer_config.json").write_bytes(
        orjson.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"})
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


def write_training(folder: Path, recipe: TrainingRecipe) -> Path:
    """An adapter of chance in the form a training writes, its plan beside it."""
    import torch  # noqa: PLC0415 - gigabytes

    from sluicegate.engines.adapt.train.model import add_adapter, load_base, trainable, write_adapter  # noqa: PLC0415 - the same

    base = open_base(recipe.base)
    model = add_adapter(load_base(base, recipe, "cpu"), recipe.lora, seed=1)
    generator = torch.Generator().manual_seed(5)
    for name, one in trainable(model).items():
        if "lora_B" in name:
            one.data = 0.3 * torch.randn(one.shape, generator=generator)
    write_adapter(model, folder / "best", half=False)
    plan = {
        "digest": f"sha256:{0:064}",
        "layout_digest": base.layout.digest,
        "tokenizer_digest": base.tokenizer.digest,
        "recipe": recipe.model_dump(mode="json"),
    }
    (folder / "plan.json").write_bytes(orjson.dumps(plan))
    return folder / "best"


@pytest.fixture(scope="module")
def merged(qwen_ranks: bytes, tmp_path_factory: pytest.TempPathFactory) -> Merged:
    import torch  # noqa: PLC0415 - gigabytes
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("qwen3")
    checkpoint = write_checkpoint(folder / "checkpoint", qwen_ranks)
    recipe = TrainingRecipe.model_validate(
        {
            "base": {"checkpoint": str(checkpoint), "layout": "vendor"},
            "lora": {"preset": "strong", "r": 4},
            "data": {"planned_rows": 8},
            "precision": "float32",
        }
    )
    adapter = write_training(folder / "training", recipe)
    wanted = WantedExport("hf-merged", "tiny", override="made by a test", licence="Apache-2.0")
    bundle = Bundle.open(export(adapter, folder / "bundle", wanted, lambda _: None).folder)
    written = bundle.path / "checkpoint"
    model = AutoModelForCausalLM.from_pretrained(written, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(written, local_files_only=True)
    return Merged(bundle, model, tokenizer, adapter, recipe)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """A text's ids; control tokens by hand, since those of a cut vocabulary are numbered anew by transformers."""
    found: list[int] = []
    for part in re.split(f"({'|'.join(map(re.escape, CONTROL))})", text):
        found += [CONTROL[part]] if part in CONTROL else tokenizer.encode(part, add_special_tokens=False)
    return found


def vocabulary_of(bundle: Bundle) -> Vocabulary:
    return Vocabulary.of(bundle.tokenizer, bundle.labels, bundle.category_tokens)


def prompts_of(bundle: Bundle) -> list[Prompt]:
    prompter = Prompter(bundle.tokenizer, bundle.layout, max_prompt_tokens=2048)
    built = prompter.build_many([Post(id="1", text=text) for text in TEXTS])
    prompts = [one for one in built if isinstance(one, Prompt)]
    assert len(prompts) == len(TEXTS)
    return prompts


def generated(model: Any, ids: Sequence[int], *, forced: Sequence[Sequence[int]]) -> tuple[list[int], Any]:
    """Plain greedy generation, each step held to some tokens: the tokens, and the raw logits of each step."""
    import torch  # noqa: PLC0415 - gigabytes

    start = torch.tensor([list(ids)])

    def allowed(_: int, so_far: Any) -> list[int]:
        return list(forced[len(so_far) - len(ids)])

    with torch.no_grad():
        made = model.generate(
            start,
            attention_mask=torch.ones_like(start),
            max_new_tokens=len(forced),
            do_sample=False,
            prefix_allowed_tokens_fn=allowed,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=0,
            eos_token_id=None,
        )
    return made.sequences[0, len(ids) :].tolist(), torch.stack([one[0] for one in made.logits])


def read_by_serving(merged: Merged, logits: Any) -> tuple[AnswerReader, Asked]:
    """The logits of one generated token as the compiled engine's border takes them."""
    document = {**small_serving("engine"), "vocab_size": VOCABULARY}
    serving = Serving.model_validate_json(orjson.dumps(document))
    completion = SimpleNamespace(token_ids=[0], generation_logits=logits[:1])
    asked = Asked(SimpleNamespace(outputs=[completion], cached_tokens=0), serving, prompt_tokens=8)
    return AnswerReader(
        vocabulary_of(merged.bundle), merged.bundle.tokenizer, end_id=CONTROL["<|im_end|>"]
    ), asked


def shares(logits: Any, ids: Sequence[int]) -> list[float]:
    found: list[float] = logits.double().softmax(-1)[list(ids)].tolist()
    return [one / sum(found) for one in found]


def test_the_exported_checkpoint_has_the_vendor_s_prompts_and_label_ids(merged: Merged) -> None:
    assert merged.bundle.labels.first_ids() == LABELS
    assert merged.bundle.manifest.layout.name == "vendor"
    for text, prompt in zip(TEXTS, prompts_of(merged.bundle), strict=True):
        rendered = merged.tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False)
        assert list(prompt.token_ids) == ids_of(merged.tokenizer, f"{rendered}Safety:")


def test_scores_are_those_of_plain_generation_over_the_label_tokens(merged: Merged) -> None:
    ids = list(LABELS.values())
    for prompt in prompts_of(merged.bundle):
        made, logits = generated(merged.model, prompt.token_ids, forced=[ids])
        reader, asked = read_by_serving(merged, logits)
        found = reader.scores(asked)
        assert isinstance(found, Scored)
        given = [found.scores.safe, found.scores.controversial, found.scores.unsafe]
        assert given == pytest.approx(shares(logits[0], ids), abs=CLOSE)
        assert found.label_mass == pytest.approx(float(logits[0].softmax(-1)[ids].sum()), rel=1e-3)
        assert LABELS[found.scores.severity] == made[0]


def test_merged_weights_score_as_base_and_adapter_do_and_not_as_the_base(merged: Merged) -> None:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    from sluicegate.engines.adapt.evaluate.checkpoint import open_checkpoint  # noqa: PLC0415 - loads torch

    backend = open_checkpoint(merged.recipe, merged.adapter, threads=1)
    prompts = prompts_of(merged.bundle)
    unmerged = asyncio.run(backend.engine.score(prompts, timeout_s=60))
    base = AutoModelForCausalLM.from_pretrained(merged.recipe.base.checkpoint, local_files_only=True)
    ids = list(LABELS.values())
    moved = []
    for prompt, one in zip(prompts, unmerged, strict=True):
        assert isinstance(one, Scored)
        given = [one.scores.safe, one.scores.controversial, one.scores.unsafe]
        _, logits = generated(merged.model, prompt.token_ids, forced=[ids])
        assert given == pytest.approx(shares(logits[0], ids), abs=CLOSE)
        _, plain = generated(base, prompt.token_ids, forced=[ids])
        moved.append(max(abs(a - b) for a, b in zip(given, shares(plain[0], ids), strict=True)))
    assert min(moved) > 100 * CLOSE


@pytest.mark.parametrize("severity", ["safe", "controversial", "unsafe"])
def test_the_categories_first_pieces_are_those_of_plain_generation_after_the_forced_label(
    merged: Merged, severity: Any
) -> None:
    vocabulary = vocabulary_of(merged.bundle)
    ids = list(vocabulary.category_ids.values())
    prompt = prompts_of(merged.bundle)[1]
    forced = vocabulary.explain_ids(prompt, severity)
    said = merged.tokenizer.encode(f"Safety: {severity.title()}{CATEGORY_HEAD}", add_special_tokens=False)
    assert forced[len(prompt.token_ids) - 2 :] == said  # the prompt ends in `Safety:`, two tokens
    steps = forced[len(prompt.token_ids) :]
    made, logits = generated(merged.model, prompt.token_ids, forced=[*([one] for one in steps), ids])
    _, at_once = generated(merged.model, forced, forced=[ids])
    reader, asked = read_by_serving(merged, at_once)
    found = category_scores(reader.categories(asked), vocabulary)
    assert list(found.values()) == pytest.approx(shares(logits[-1], ids), abs=CLOSE)
    likeliest = max(found, key=found.__getitem__)
    assert vocabulary.category_ids[likeliest] == made[-1]
    assert made[:-1] == steps


def test_another_base_cannot_take_the_adapter(merged: Merged, tmp_path: Path, qwen_ranks: bytes) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415

    other = write_checkpoint(tmp_path / "other", qwen_ranks)
    wider = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    Qwen3ForCausalLM(wider).save_pretrained(other)
    wanted = WantedExport(
        "hf-merged",
        "tiny",
        base=str(other),
        layout="vendor",
        override="made by a test",
        licence="Apache-2.0",
    )
    with pytest.raises(ExportError, match="cannot be merged"):
        export(merged.adapter, tmp_path / "out", wanted, lambda _: None)
    assert not (tmp_path / "out").exists()
