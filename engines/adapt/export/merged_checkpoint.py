"""A merged checkpoint in the Hugging Face form: what TensorRT-LLM compiles and vLLM loads. Imports torch."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import logging

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
