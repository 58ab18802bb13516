"""A training's adapter as an engine, on a tiny model with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.examples import ExampleMaker
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored
from sluicegate.schemas import Post
from support.labelled import sentence
from support.training import labelled_rows, small_base

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.engines.backends import Backend

pytestmark = [pytest.mark.adapt, pytest.mark.filterwarnings("default::FutureWarning")]

RECIPE = TrainingRecipe.model_validate(
    {
        "base": {"bundle": "small"},
        "lora": {"preset": "small", "r": 4},
        "data": {"planned_rows": 8, "max_tokens": 256},
        "optimiser": {"micro_tokens": 512},
        "precision": "float32",
    }
)


def tiny_model() -> Any:
    import torch  # noqa: PLC0415 - gigabytes
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes: dict[str, Any] = {
        "vocab_size": small_base().tokenizer.vocabulary_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
        "max_position_embeddings": 4096,
    }
    return LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True))


def adapter_in(folder: Path, *, spread: float) -> Path:
    """An adapter whose weights are drawn with this spread; 0 changes nothing of the base."""
    import torch  # noqa: PLC0415 - gigabytes

    from sluicegate.engines.adapt.train.model import add_adapter, trainable, write_adapter  # noqa: PLC0415 - loads torch

    model = add_adapter(tiny_model(), RECIPE.lora, seed=1)
    generator = torch.Generator().manual_seed(5)
    for name, one in trainable(model).items():
        if "lora_B" in name:
            one.data = torch.randn(one.shape, generator=generator) * spread
    write_adapter(model, folder, half=False)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    from sluicegate.engines.adapt.evaluate import checkpoint  # noqa: PLC0415 - the same

    monkeypatch.setattr(checkpoint, "open_base", lambda _: small_base())
    monkeypatch.setattr(checkpoint, "load_base", lambda *_: tiny_model())
    return lambda folder: checkpoint.open_checkpoint(RECIPE, folder, threads=1)


def prompts_of(backend: Backend, count: int = 9) -> list[Prompt]:
    posts = [Post(id="p", text=" ".join(sentence(at + k) for k in range(at % 4 + 1))) for at in range(count)]
    return [one for one in backend.prompter.build_many(posts) if isinstance(one, Prompt)]


def shares(answers: Sequence[Scored | ItemFailure]) -> list[tuple[float, float, float]]:
    scores = [answer.scores for answer in answers if isinstance(answer, Scored)]
    assert len(scores) == len(answers)
    return [(one.safe, one.controversial, one.unsafe) for one in scores]


async def test_scores_are_those_that_training_measures_on_dev(tmp_path: Path, opened: Any) -> None:
    from sluicegate.engines.adapt.train import model as trained  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.adapt.train.model import add_adapter  # noqa: PLC0415 - loads the tokenizer

    folder = adapter_in(tmp_path / "adapter", spread=0.5)
    backend = opened(folder)
    base = small_base()
    rows = labelled_rows(12)
    maker = ExampleMaker(base, max_tokens=256, hinted_share=0)
    examples, _ = maker.make_all(rows)
    model = add_adapter(tiny_model(), RECIPE.lora, seed=1, start_from=str(folder))
    judged = trained.judge(model, examples, base.labels.first_ids(), micro_tokens=512, device="cpu")
    built = backend.prompter.build_many([maker.post(row) for row in rows])
    found = shares(await backend.engine.score(built, timeout_s=60))
    # dev judges by length, and says which row it was by nothing but its scores.
    for one, other in zip(sorted(found), sorted(each.probabilities for each in judged), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


async def test_company_changes_no_score_and_answers_come_in_order(tmp_path: Path, opened: Any) -> None:
    backend = opened(adapter_in(tmp_path / "adapter", spread=0.5))
    prompts = prompts_of(backend)
    together = shares(await backend.engine.score(prompts, timeout_s=60))
    alone = [shares(await backend.engine.score([one], timeout_s=60))[0] for one in prompts]
    assert len({round(one[0], 4) for one in alone}) > 3
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


async def test_explanations_in_company_are_those_alone(tmp_path: Path, opened: Any) -> None:
    backend = opened(adapter_in(tmp_path / "adapter", spread=0.5))
    prompts = prompts_of(backend, 5)
    severities = ["safe", "controversial", "unsafe", "safe", "unsafe"]
    texts: list[str] = []
    engine: Any = backend.engine
    plain_read = engine._read

    def read(ids: list[int], prompt: Prompt) -> Any:
        texts.append(str(ids[:12]))
        return plain_read(ids, prompt)

    engine._read = read
    together = await engine.explain(prompts, severities, timeout_s=60)
    for prompt, severity in zip(prompts, severities, strict=True):
        await engine.explain([prompt], [severity], timeout_s=60)
    assert texts[:5] == texts[5:]
    assert all(isinstance(one, Explanation | ItemFailure) for one in together)


async def test_what_the_model_wrote_is_read_as_a_served_answer_is(tmp_path: Path, opened: Any) -> None:
    backend = opened(adapter_in(tmp_path / "adapter", spread=0.0))
    base, engine = small_base(), backend.engine
    (prompt,) = prompts_of(backend, 1)
    good = base.tokenizer.encode_text(" Violent, PII\nReason: a reason")
    assert engine._read([*good, base.end_id, *good], prompt) == Explanation(
        ("Violent", "PII"), reason="a reason"
    )
    assert engine._read([base.end_id], prompt).code == "empty_completion"
    assert engine._read(base.tokenizer.encode_text(" Safe"), prompt).code == "unparsable"


async def test_the_digest_is_of_the_weights_and_the_adapter_acts(tmp_path: Path, opened: Any) -> None:
    one = opened(adapter_in(tmp_path / "one", spread=0.5))
    again = opened(adapter_in(tmp_path / "again", spread=0.5))
    none = opened(adapter_in(tmp_path / "none", spread=0.0))
    assert one.engine.info == again.engine.info
    assert one.engine.info.digest != none.engine.info.digest
    prompts = prompts_of(one, 3)
    changed = shares(await one.engine.score(prompts, timeout_s=60))
    plain = shares(await none.engine.score(prompts, timeout_s=60))
    assert max(abs(a[0] - b[0]) for a, b in zip(changed, plain, strict=True)) > 0.01


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path, opened: Any) -> None:
    with pytest.raises(TrainingError, match="adapter_model"):
        opened(tmp_path)
