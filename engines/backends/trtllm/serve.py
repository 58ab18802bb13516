"""A server of its own for a bundle: the commands, files and settings that belong together.

Everything here is text to be run or read by people and their tools; nothing is started.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml

from sluicegate.engines.backends.dialects.openai import OpenAIDialect, VllmDialect
from sluicegate.engines.backends.trtllm.serving import Serving
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import EngineSetupError

if TYPE_CHECKING:
    from pathlib import Path


ServerName = Literal["trtllm-serve", "vllm", "sglang"]

CONFIG: Final = "trtllm-serve.yaml"
_BOUNDED = (
    f"no exact logits: scores are of the {OpenAIDialect.candidates} likeliest tokens; a label that is missing "
    "among them counts as much as the least of them, which is the most it can have"
)


@dataclass(frozen=True)
class ServerPlan:
    """How to serve one bundle."""

    command: tuple[str, ...]
    """The server's command line."""
    settings: dict[str, Any]
    """The worker's section ``engine``."""
    files: dict[str, str] = field(default_factory=dict)
    """Name to content of what the command reads."""
    notes: tuple[str, ...] = ()
    """Sentences about what this server does not give."""


def plan_server(bundle: Bundle, server: ServerName, *, port: int, config: Path) -> ServerPlan:
    """Plan the server of a bundle that was made for TensorRT-LLM.

    Args:
        bundle: An opened bundle.
        server: Which one.
        port: Where it listens, on this host alone.
        config: Folder that the plan's files will lie in, as the server sees it.

    Raises:
        BundleError: The bundle is not for TensorRT-LLM.
        EngineSetupError: This server cannot serve it.
    """
    serving = Serving.of(bundle)
    if server == "trtllm-serve":
        return _trtllm(bundle, serving, port, config)
    if serving.runtime == "engine":
        raise EngineSetupError(
            f"serving.json: runtime is engine, and {server} serves checkpoints; build the bundle with runtime pytorch"
        )
    return _vllm(bundle, serving, port) if server == "vllm" else _sglang(bundle, serving, port)


def _trtllm(bundle: Bundle, serving: Serving, port: int, config: Path) -> ServerPlan:
    tokenizer = serving.tokenizer_folder or (serving.folder if serving.runtime == "pytorch" else None)
    if tokenizer is None:
        raise EngineSetupError(
            "serving.json: tokenizer_folder is missing, and trtllm-serve answers in text; build the bundle with it"
        )
    command = (
        "trtllm-serve",
        "serve",
        str(bundle.path / serving.folder),
        "--backend",
        "tensorrt" if serving.runtime == "engine" else "pytorch",
        "--tokenizer",
        str(bundle.path / tokenizer),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--max_batch_size",
        str(serving.max_batch_size),
        "--max_num_tokens",
        str(serving.max_num_tokens),
        "--max_seq_len",
        str(serving.max_seq_len),
        "--config",
        str(config / CONFIG),
    )
    return ServerPlan(
        command,
        _settings(bundle, "trtllm", port),
        {CONFIG: yaml.safe_dump(trtllm_options(serving), sort_keys=False)},
        (
            "no exact logits: scores are of the likeliest tokens, normalised over the three labels",
            "a label that is missing among them counts as much as the least of them, which is the most it can have",
        ),
    )


def trtllm_options(serving: Serving) -> dict[str, Any]:
    """Content of the configuration file: arguments of ``LLM`` that the command has no flag for."""
    cache: dict[str, Any] = {
        "enable_block_reuse": True,
        "free_gpu_memory_fraction": serving.free_gpu_memory_fraction,
    }
    lora = serving.lora
    if serving.runtime == "engine":
        # Without gathered logits the server refuses a request for more than one candidate.
        options: dict[str, Any] = {"gather_generation_logits": True, "kv_cache_config": cache}
        return {**options, "enable_lora": True} if lora else options  # ranks and modules are built in
    options = {"kv_cache_config": {**cache, "tokens_per_block": serving.tokens_per_block}}
    if lora:
        options["lora_config"] = {
            "lora_target_modules": list(lora.target_modules),
            "max_lora_rank": lora.max_rank,
            "max_loras": lora.max_adapters,
            "max_cpu_loras": lora.max_adapters,
        }
    return options


def _vllm(bundle: Bundle, serving: Serving, port: int) -> ServerPlan:
    command = (
        "vllm",
        "serve",
        str(bundle.path / serving.folder),
        "--served-model-name",
        bundle.manifest.name,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--max-model-len",
        str(serving.max_seq_len),
        "--max-num-seqs",
        str(serving.max_batch_size),
        "--max-logprobs",
        str(VllmDialect.candidates),
        "--enable-prefix-caching",
        *_lora_flags(serving, count="--max-loras", rank="--max-lora-rank"),
    )
    return ServerPlan(command, _settings(bundle, "vllm", port), notes=(_BOUNDED,))


def _sglang(bundle: Bundle, serving: Serving, port: int) -> ServerPlan:
    command = (
        "python",
        "-m",
        "sglang.launch_server",
        "--model-path",
        str(bundle.path / serving.folder),
        "--served-model-name",
        bundle.manifest.name,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--context-length",
        str(serving.max_seq_len),
        "--max-running-requests",
        str(serving.max_batch_size),
        *_lora_flags(serving, count="--max-loras-per-batch", rank="--max-lora-rank"),
    )
    return ServerPlan(command, _settings(bundle, "openai", port), notes=(_BOUNDED,))


def _lora_flags(serving: Serving, *, count: str, rank: str) -> tuple[str, ...]:
    """For a server that is told of its adapters at its start: the user adds their names and folders."""
    lora = serving.lora
    return ("--enable-lora", count, str(lora.max_adapters), rank, str(lora.max_rank)) if lora else ()


def _settings(bundle: Bundle, dialect: str, port: int) -> dict[str, Any]:
    serving = Serving.of(bundle)
    return {
        "backend": "completions",
        "dialect": dialect,
        "url": f"http://127.0.0.1:{port}",
        "model": bundle.manifest.name,
        "bundle": str(bundle.path),
        "digest": bundle.digest,
        # Enough that the next step is full; what waits beyond that waits in the worker.
        "concurrency": min(2 * serving.max_batch_size, 4096),
    }
