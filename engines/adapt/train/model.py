"""Model: the base's weights in torch, with an adapter on them, and its loss. Imports torch, transformers and peft.

The loss is cross entropy over completions alone, the label's first token weighted.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.adapt.train.base import OpenedBase
from sluicegate.engines.adapt.train.examples import TrainingExample, steps
from sluicegate.engines.adapt.train.log import DevJudged
from sluicegate.engines.adapt.train.recipe import LoraRecipe, TrainingProgress, TrainingRecipe
from sluicegate.engines.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence


_PAD = 0  # masked out; any id will do


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples side by side, padded at the right."""

    ids: Any
    """Token ids, ``[rows, tokens]``."""
    mask: Any
    """1 where a token stands, ``[rows, tokens]``."""
    places: tuple[Any, Any]
    """Rows and positions whose next token is learnt, ``[learnt]`` each."""
    targets: Any
    """The token that follows each place, ``[learnt]``."""
    weights: Any
    """Weight of each place, ``[learnt]``."""


def collate(examples: Sequence[TrainingExample], *, label_weight: float, device: str) -> Batch:
    """Examples as one batch."""
    width = max(example.tokens for example in examples)
    ids = torch.full((len(examples), width), _PAD)
    mask = torch.zeros_like(ids)
    rows: list[int] = []
    positions: list[int] = []
    weights: list[float] = []
    for row, example in enumerate(examples):
        ids[row, : example.tokens] = torch.tensor([*example.prompt_ids, *example.completion_ids])
        mask[row, : example.tokens] = 1
        learnt = len(example.completion_ids)
        rows += [row] * learnt
        positions += range(len(example.prompt_ids) - 1, example.tokens - 1)
        weights += [label_weight, *[1.0] * (learnt - 1)]
    at = torch.tensor(rows), torch.tensor(positions)
    return Batch(
        ids=ids.to(device),
        mask=mask.to(device),
        places=(at[0].to(device), at[1].to(device)),
        targets=ids[at[0], at[1] + 1].to(device),
        weights=torch.tensor(weights, device=device),
    )


def weight_of(examples: Sequence[TrainingExample], label_weight: float) -> float:
    """Sum of the weights of these examples' places."""
    return sum(label_weight + len(example.completion_ids) - 1 for example in examples)


def logits_at(model: Any, ids: Any, mask: Any, places: tuple[Any, Any]) -> Any:
    """Logits over the vocabulary at some places, ``[places, vocabulary]``, in float32.

    The output head, a fifth of a small model's work, is computed there alone.
    """
    base = model.get_base_model()
    hidden = base.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return base.lm_head(hidden[places]).float()


def loss_sum(model: Any, batch: Batch) -> Any:
    """Weighted sum of the cross entropies: divided by the step's weight it does not depend on micro-batches."""
    logits = logits_at(model, batch.ids, batch.mask, batch.places)
    return (functional.cross_entropy(logits, batch.targets, reduction="none") * batch.weights).sum()


def judge(
    model: Any,
    examples: Sequence[TrainingExample],
    first_ids: dict[Any, int],
    *,
    micro_tokens: int,
    device: str,
) -> list[DevJudged]:
    """Probabilities of the three labels, as serving takes them: softmax over their first tokens.

    Neither random generators nor gradients are touched.
    """
    ids = [first_ids[severity] for severity in SEVERITIES]
    was_training = model.training
    model.eval()
    judged: list[DevJudged] = []
    order = sorted(range(len(examples)), key=lambda index: examples[index].tokens)
    lengths = [example.tokens for example in examples]
    with torch.no_grad():
        for batch in steps(order, lengths, batch_rows=64, micro_tokens=micro_tokens):
            for part in batch:
                chosen = [examples[index] for index in part]
                at = collate(chosen, label_weight=1.0, device=device)
                last = torch.tensor([len(example.prompt_ids) - 1 for example in chosen], device=device)
                rows = torch.arange(len(chosen), device=device)
                found = logits_at(model, at.ids, at.mask, (rows, last))[:, ids].softmax(dim=-1)
                judged += [
                    DevJudged(example.language, example.severity, (row[0], row[1], row[2]))
                    for example, row in zip(chosen, found.tolist(), strict=True)
                ]
    model.train(was_training)
    return judged


ADAPTER = "adapter_model.safetensors"
"""Name that peft, vLLM and TensorRT-LLM look for."""


def load_base(base: OpenedBase, recipe: TrainingRecipe, device: str, *, kept: Path | None = None) -> Any:
    """Read the base's weights from disk; nothing is fetched from anywhere.

    A GGUF is dequantised, its rows of Q and K brought back into the order that transformers expects.
    Under ``bf16_autocast`` the products are computed in bf16 from weights kept so; norms,
    embeddings and sums stay in float32.

    Args:
        base: What to read.
        recipe: Says in which precision.
        device: Where to.
        kept: Folder for a GGUF's weights once they are dequantised, which takes a minute: the next sitting reads
            them there. None keeps none.

    Raises:
        TrainingError: The weights cannot be read.
    """
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    logging.disable_progress_bar()  # what is to be said is said by the caller
    where: dict[str, Any] = {"gguf_file": base.gguf} if base.gguf else {}
    if device == "cpu":
        # torch's fused attention is slow backwards there: plain products made a training 1.5 times as fast
        where["attn_implementation"] = "eager"
    folder = base.folder
    if base.gguf and kept is not None and kept.is_dir():
        folder = kept
        del where["gguf_file"]
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, **where)
        if base.gguf and kept is not None and folder != kept:
            _keep_base(model, kept)
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"base: the weights in {folder} cannot be read ({type(error).__name__}: {str(error)[:200]}); check the folder"
        ) from error
    model.config.use_cache = False
    if recipe.precision == "bf16_autocast":
        tied = model.lm_head.weight is model.model.embed_tokens.weight
        for module in [*model.model.layers.modules(), *([] if tied else [model.lm_head])]:
            if isinstance(module, torch.nn.Linear):
                module.to(torch.bfloat16)
    if recipe.recompute:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.to(device)


def _keep_base(model: Any, kept: Path) -> None:
    """Write what was dequantised; transformers' own way refuses what came from a GGUF."""
    unfinished = kept.with_name(f".{kept.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    weights = {name: one.contiguous() for name, one in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    save_file(weights, unfinished / "model.safetensors", metadata={"format": "pt"})
    document = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    document.pop("quantization_config", None)
    (unfinished / "config.json").write_text(json.dumps(document, default=str), encoding="utf-8")
    unfinished.rename(kept)


def add_adapter(model: Any, lora: LoraRecipe, *, seed: int, start_from: str | None = None) -> PeftModel:
    """The model with a LoRA adapter in float32 on it: fresh from the seed, or begun from another's weights.

    Raises:
        TrainingError: A target is no module of this model, or the adapter to begin with does not fit.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        target_modules=list(lora.targets),
        lora_dropout=lora.dropout,
        task_type="CAUSAL_LM",
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise TrainingError(
            f"lora.targets: {', '.join(lora.targets)} are not in this model; name modules that it has"
        ) from error
    for parameter in trainable(adapted).values():
        parameter.data = parameter.data.float()
    if start_from is not None:
        set_adapter(adapted, _read_adapter(Path(start_from)))
    return adapted


def trainable(model: Any) -> dict[str, Any]:
    """The adapter's parameters by name."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def adapter_weights(model: Any) -> dict[str, Any]:
    """The adapter's weights under the names that peft writes to files."""
    return dict(get_peft_model_state_dict(model))


def set_adapter(model: Any, weights: dict[str, Any]) -> None:
    """Put weights into the adapter.

    Raises:
        TrainingError: They are of another adapter.
    """
    own = adapter_weights(model)
    shapes = {name: tuple(one.shape) for name, one in own.items()}
    if shapes != {name: tuple(one.shape) for name, one in weights.items()}:
        raise TrainingError(
            "start_from: that adapter has other targets or another r; use the recipe it was made with"
        )
    set_peft_model_state_dict(model, weights)


def write_adapter(model: Any, folder: Path, *, half: bool = True) -> None:
    """Write the adapter as peft does: weights and ``adapter_config.json``.

    Args:
        model: A model with an adapter.
        folder: Made if need be.
        half: Weights in float16, half the size; False keeps float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: one.detach().to("cpu", torch.float16 if half else torch.float32).contiguous()
        for name, one in adapter_weights(model).items()
    }
    save_file(weights, folder / ADAPTER, metadata={"format": "pt"})
    model.peft_config["default"].save_pretrained(folder)


def _read_adapter(folder: Path) -> dict[str, Any]:
    try:
        return dict(load_file(folder / ADAPTER))
    except OSError as error:
        raise TrainingError(
            f"start_from: {folder / ADAPTER} cannot be read ({error}); check the folder"
        ) from error


CHECKPOINT = "checkpoint.pt"


def write_checkpoint(
    path: Path, *, plan: str, model: Any, optimiser: Any, progress: TrainingProgress
) -> None:
    """Write the adapter in float32, the optimiser, the random generators and the progress.

    Atomic: a process that dies meanwhile leaves the checkpoint before this one.

    Args:
        path: The file.
        plan: Digest of what is being done; the same is asked for when reading.
        model: The adapted model.
        optimiser: Its optimiser.
        progress: How far it is.
    """
    state = {
        "plan": plan,
        "progress": asdict(progress),
        "adapter": {name: one.detach().cpu() for name, one in trainable(model).items()},
        "optimiser": optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with replacing(path, durable=True) as stream:
        torch.save(state, stream)


def read_checkpoint(path: Path, *, plan: str, model: Any, optimiser: Any) -> TrainingProgress:
    """Put a checkpoint's state into model, optimiser and random generators.

    Raises:
        TrainingError: The file cannot be read, or belongs to another recipe or other data.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle name none for a damaged file
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}); give another --out to begin again"
        ) from error
    if state["plan"] != plan:
        raise TrainingError(
            f"{path} is of another recipe, base or data; give those it was made with, or another --out"
        )
    own = trainable(model)
    with torch.no_grad():
        for name, saved in state["adapter"].items():
            own[name].copy_(saved)
    optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return TrainingProgress(**state["progress"])
