"""The weights of a bundle, in the three forms that servers take.

A merged checkpoint is the Hugging Face form, which TensorRT-LLM compiles and vLLM loads. To write it loads torch.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import orjson

from sluicegate.engines.adapt.export.base_parts import BaseParts
from sluicegate.engines.cpu_model import CONFIG, WEIGHTS, GgufModel, PeftAdapter
from sluicegate.engines.cpu_model.gguf_model import merge
from sluicegate.engines.errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path


# What belongs to a tokenizer and its template, beside config and weights. Nothing else is taken along.
TOKENIZER_FILES: Final = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


def write_merged(base: Path, adapter: Path, target: Path) -> str:
    """Merge an adapter into a base and write the checkpoint: config, weights, tokenizer, chat template.

    Weights keep the base's own precision. Needs memory for the base once.

    Args:
        base: Folder of the base, a checkpoint.
        adapter: Folder of the adapter.
        target: Folder to write.

    Returns:
        The precision, such as ``bfloat16``.

    Raises:
        ExportError: The base cannot be read, or the adapter does not fit it.
    """
    import torch  # noqa: PLC0415 - gigabytes
    from peft import PeftModel  # noqa: PLC0415 - loads torch
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - loads torch
    from transformers.utils import logging  # noqa: PLC0415 - loads torch

    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
        merged = PeftModel.from_pretrained(model, adapter, local_files_only=True).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ExportError(
            f"{base}: base and adapter cannot be merged ({type(error).__name__}); give the base it was trained on"
        ) from error
    merged.config.name_or_path = ""  # a path of this machine
    merged.save_pretrained(target)
    # The base's own: this transformers writes fields (rope_parameters) that TensorRT-LLM's older one passes over.
    shutil.copyfile(base / "config.json", target / "config.json")
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, target / name)
    return str(merged.dtype).removeprefix(f"{torch.__name__}.")


Form = Literal["llama_cpp", "hf-adapter", "hf-merged"]


@dataclass(frozen=True, slots=True)
class WrittenWeights:
    """What was written, as the manifest says it."""

    paths: dict[str, str]
    """Role to path inside the bundle."""
    quantisation: str
    runtime: str


def write_weights(
    form: Form, parts: BaseParts, adapter: PeftAdapter, source: Path, target: Path, *, name: str
) -> WrittenWeights:
    """Write weights into a bundle's folder.

    Args:
        form: For which servers.
        parts: The base.
        adapter: What is added to it.
        source: The adapter's folder.
        target: The bundle's folder.
        name: The bundle's name.

    Raises:
        ExportError: This adapter, or this base, cannot be had in this form.
        EngineSetupError: The base cannot be read.
    """
    match form:
        case "llama_cpp":
            return _llama_cpp(parts, adapter, target, name)
        case "hf-adapter":
            return _hf_adapter(parts, adapter, target)
        case "hf-merged":
            return _hf_merged(parts, source, target)


def _llama_cpp(parts: BaseParts, adapter: PeftAdapter, target: Path, name: str) -> WrittenWeights:
    if parts.gguf is None:
        raise ExportError(
            f"{parts.folder}: llama_cpp needs a base whose weights are a GGUF; use --to hf-merged for a checkpoint"
        )
    merge(GgufModel(parts.gguf), adapter, target / "model.gguf", name=name)
    return WrittenWeights({"model": "model.gguf"}, "Q8_0", "llama.cpp")


def _hf_adapter(parts: BaseParts, adapter: PeftAdapter, target: Path) -> WrittenWeights:
    folder = target / "adapter"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(adapter.raw)
    config = adapter.peft_config(parts.manifest.base.name)
    (folder / CONFIG).write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2) + b"\n")
    return WrittenWeights(
        {"adapter": f"adapter/{WEIGHTS}", "adapter_config": f"adapter/{CONFIG}"},
        "as the server's base",
        "base with a LoRA adapter",
    )


def _hf_merged(parts: BaseParts, source: Path, target: Path) -> WrittenWeights:
    if parts.gguf is not None:
        raise ExportError(f"{parts.folder}: hf-merged needs a checkpoint; name it with --base")
    from sluicegate.engines.adapt.train.run import require_libraries  # noqa: PLC0415 - only here

    require_libraries()
    folder = target / "checkpoint"
    precision = write_merged(parts.folder, source, folder)
    paths = sorted(path.name for path in folder.iterdir())
    roles = {f"checkpoint_{number}": f"checkpoint/{name}" for number, name in enumerate(paths, 1)}
    return WrittenWeights(roles, precision, "Hugging Face checkpoint")
