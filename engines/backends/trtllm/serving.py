"""``serving.json``: how a bundle's engine or checkpoint is to be run by TensorRT-LLM, in process or by a server.

The plan of a server of its own is commands, files and settings that belong together. It is text to be run or read
by people and their tools; nothing is started.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.engines.backends.dialects import EXPLANATION_TOKENS, VllmDialect
from sluicegate.engines.backends.releases import Release, ServerName, release_of, versions_of
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import BundleError, EngineSetupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


ROLE: Final = "serving"
"""Role of the file in a bundle's manifest."""

VERSION: Final = "1.2.1"
"""The release that builds and runs in process: the last one that compiles engines, and the first without its predecessor's cache fault."""

Runtime = Literal["engine", "pytorch"]

_BYTES = 64 * 1024
_FORCED_TOKENS = 16  # the longest label and the head of the categories need 6 with Qwen3's vocabulary
_Module = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Folder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._/-]{0,199}$")]


class LoraLimits(BaseModel):
    """What adapters a server adds to the base, by the request; an adapter that is merged needs none of it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    max_rank: int = Field(ge=1, le=512, description="Largest rank of an adapter.")
    target_modules: Annotated[tuple[_Module, ...], Field(min_length=1, max_length=16)] = Field(
        description="Layers that adapters change, in TensorRT-LLM's names, such as attn_q."
    )
    max_adapters: int = Field(8, ge=1, le=1024, description="Adapters on the GPU at once.")


class Serving(BaseModel):
    """Content of ``serving.json``. The build writes it; its checksum is in the manifest."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["1.0"]
    runtime: Runtime = Field(description="A compiled engine, or a checkpoint for the PyTorch runtime.")
    tensorrt_llm: str = Field(max_length=32, description="Release that made it; an engine runs on no other.")
    folder: _Folder = Field(description="Engine or checkpoint, relative to the manifest.")
    tokenizer_folder: _Folder | None = Field(
        None, description="Tokenizer as Hugging Face stores it: for guided decoding and for a server."
    )
    vocab_size: int = Field(
        ge=8, le=1 << 20, description="Columns of the logits; the model's, not the tokenizer's."
    )
    max_batch_size: int = Field(ge=1, le=4096, description="Prompts in one step.")
    max_num_tokens: int = Field(ge=64, le=1 << 20, description="Tokens in one step.")
    max_input_len: int = Field(ge=64, le=1 << 20, description="Longest prompt.")
    max_seq_len: int = Field(ge=64, le=1 << 20, description="Longest prompt and answer together.")
    tokens_per_block: int = Field(32, ge=8, le=256, description="Tokens in one block of the prefix cache.")
    gather_generation_logits: bool = Field(
        False, description="Not read: an engine is asked for its logits when it is loaded, not when built."
    )
    paged_context_fmha: bool = Field(False, description="Engine: built so that cached prefixes can be used.")
    guided_decoding: bool = Field(
        False, description="Hold explanations to their shape while they are written."
    )
    free_gpu_memory_fraction: float = Field(
        0.85, gt=0, lt=1, description="Of what the weights leave free: for the prefix cache."
    )

    lora: LoraLimits | None = Field(None, description="trtllm-serve: adapters that requests may name.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_batch_size > self.max_num_tokens:
            raise ValueError("max_batch_size must not exceed max_num_tokens")
        if self.max_input_len > self.max_num_tokens:
            raise ValueError("max_num_tokens must be at least max_input_len, since prompts are not chunked")
        if self.max_seq_len <= self.max_input_len:
            raise ValueError("max_seq_len must exceed max_input_len by the answer")
        if self.runtime == "engine" and not self.paged_context_fmha:
            raise ValueError("an engine must be built with paged_context_fmha, or it reuses no prefix")
        if self.guided_decoding and self.tokenizer_folder is None:
            raise ValueError("guided_decoding needs tokenizer_folder")
        return self

    @classmethod
    def of(cls, bundle: Bundle, *, max_prompt_tokens: int | None = None, in_process: bool = False) -> Self:
        """Read a bundle's ``serving.json`` and check it against the bundle and the known releases.

        Args:
            bundle: An opened bundle.
            max_prompt_tokens: Longest prompt that will be sent; the bundle's limit unless given.
            in_process: The worker is to load it itself.

        Raises:
            BundleError: Which field does not fit, and the fix.
        """
        path = bundle.file(ROLE)
        serving = cls._parse(path)
        release = release_of("trtllm-serve", serving.tensorrt_llm)
        if release is None or serving.runtime not in release.runtimes:
            raise BundleError(
                f"{path.name}: tensorrt_llm is {serving.tensorrt_llm!r}, and runtime is {serving.runtime}; known are "
                f"{versions_of('trtllm-serve')}, of which {VERSION} alone runs engines; build the bundle with {VERSION}"
            )
        if in_process and not release.in_process:
            raise BundleError(
                f"{path.name}: tensorrt_llm is {serving.tensorrt_llm!r}, and {VERSION} alone runs in process; serve the "
                "bundle with trtllm-serve (engine.backend: completions), or build it again"
            )
        for folder in (serving.folder, serving.tokenizer_folder):
            if folder is not None:
                _listed(bundle, path.name, folder)
        _fits(serving, path.name, max_prompt_tokens or bundle.manifest.limits.max_prompt_tokens)
        return serving

    @classmethod
    def batch_of(cls, bundle: Bundle) -> int | None:
        """How many prompts the engine of a bundle takes in one step; None where the bundle does not tell.

        Raises:
            BundleError: Its ``serving.json`` cannot be read.
        """
        return cls._parse(bundle.file(ROLE)).max_batch_size if ROLE in bundle.manifest.files else None

    @classmethod
    def _parse(cls, path: Path) -> Self:
        try:
            with path.open("rb") as stream:
                raw = stream.read(_BYTES + 1)
        except OSError as error:
            raise BundleError(
                f"{path.name}: cannot be read ({error.strerror}); make the bundle again"
            ) from error
        if len(raw) > _BYTES:
            raise BundleError(f"{path.name}: larger than {_BYTES} bytes; make the bundle again")
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:120] or "document"
            raise BundleError(
                f"{path.name}: {where}: {first['msg']}; correct the recipe and make the bundle again"
            ) from error


def _fits(serving: Serving, name: str, max_prompt_tokens: int) -> None:
    """Prompts, what is forced after them and an explanation must fit: what does not is cut silently."""
    for limit, needed in (
        ("max_input_len", max_prompt_tokens + _FORCED_TOKENS),
        ("max_seq_len", max_prompt_tokens + _FORCED_TOKENS + EXPLANATION_TOKENS),
    ):
        if (built := getattr(serving, limit)) < needed:
            raise BundleError(
                f"{name}: {limit} is {built}, and prompts of {max_prompt_tokens} tokens need {needed}; lower "
                "engine.max_prompt_tokens or limits.max_prompt_tokens, or build with more"
            )


def _listed(bundle: Bundle, name: str, folder: str) -> None:
    """Everything in a folder that is served must be in the manifest: the digest speaks for nothing else."""
    listed = {PurePosixPath(entry.path) for entry in bundle.manifest.files.values()}
    root = bundle.path / folder
    if not root.resolve().is_relative_to(bundle.path.resolve()):
        raise BundleError(f"{name}: {folder} leads out of the bundle; copy it in")
    found = {
        PurePosixPath(path.relative_to(bundle.path).as_posix())
        for path in root.rglob("*")
        if not path.is_dir()
    }
    if not found:
        raise BundleError(f"{name}: {folder} holds no file; make the bundle again")
    if unlisted := sorted(found - listed):
        raise BundleError(
            f"{name}: {folder} holds {len(unlisted)} files that the manifest does not list, "
            f"such as {unlisted[0].name[:80]!r}; remove them or make the bundle again"
        )


CONFIG: Final = "trtllm-serve.yaml"
_EXACT = "scores are exact: each label's own probability, of the whole vocabulary"
_OLDER_VLLM = "a vLLM before 0.32 may answer with the 20 likeliest tokens instead"
_VLLM_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The only values that its ``--max-lora-rank`` takes: ``MaxLoRARanks`` in vllm/config/lora.py of 0.32.0."""


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
    metrics: str = ""
    """Path of the server's own metrics for Prometheus; empty unless they were asked for."""


def plan_server(
    bundle: Bundle,
    server: ServerName,
    *,
    port: int,
    config: Path,
    version: str | None = None,
    metrics: bool = False,
) -> ServerPlan:
    """Plan the server of a bundle that was made for TensorRT-LLM.

    Args:
        bundle: An opened bundle.
        server: Which one.
        port: Where it listens, on this host alone.
        config: Folder that the plan's files will lie in, as the server sees it.
        version: Of the server; for ``trtllm-serve`` the bundle's own unless given, else what this code knows.
        metrics: The server is to have metrics for Prometheus.

    Raises:
        BundleError: The bundle is not for TensorRT-LLM.
        EngineSetupError: This server cannot serve it.
    """
    serving = Serving.of(bundle)
    if server == "trtllm-serve" and version is None:
        version = serving.tensorrt_llm
    release = release_of(server, version)
    if release is None:
        raise EngineSetupError(f"{server} {version} is not known; give one of {versions_of(server)}")
    if serving.runtime not in release.runtimes:
        raise EngineSetupError(
            f"serving.json: runtime is {serving.runtime}, and {server} {release.version} serves checkpoints; "
            "build the bundle with runtime pytorch"
        )
    if server == "trtllm-serve":
        return _trtllm(bundle, serving, release, port, config, metrics=metrics)
    make = _vllm if server == "vllm" else _sglang
    return make(bundle, serving, release, port, metrics=metrics)


def _trtllm(
    bundle: Bundle, serving: Serving, release: Release, port: int, config: Path, *, metrics: bool
) -> ServerPlan:
    tokenizer = serving.tokenizer_folder or (serving.folder if serving.runtime == "pytorch" else None)
    if tokenizer is None:
        raise EngineSetupError(
            "serving.json: tokenizer_folder is missing, and trtllm-serve answers in text; build the bundle with it"
        )
    # Documented for 1.2.1 (commands/trtllm-serve); read in no source, and run nowhere.
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
        "--extra_llm_api_options",  # the older name of --config: every release takes it
        str(config / CONFIG),
    )
    return ServerPlan(
        command,
        _settings(bundle, release, port),
        {CONFIG: yaml.safe_dump(trtllm_options(serving, metrics=metrics), sort_keys=False)},
        (
            "no exact logits: scores are of the likeliest tokens, normalised over the three labels",
            "a label that is missing among them counts as much as the least of them, which is the most it can have",
            "one Python process answers every request, and is likely to be full before the GPU: docs/engine.md says what helps",
        ),
        # Source near 1.2.1: serve/openai_server.py, mount_metrics. /metrics itself is JSON.
        metrics="/prometheus/metrics" if metrics else "",
    )


def trtllm_options(serving: Serving, *, metrics: bool = False) -> dict[str, Any]:
    """Content of the configuration file: arguments of ``LLM`` that the command has no flag for.

    Args:
        serving: What the bundle says.
        metrics: The server is to have metrics for Prometheus, which it makes of its requests' times.
    """
    cache: dict[str, Any] = {
        "enable_block_reuse": True,
        "free_gpu_memory_fraction": serving.free_gpu_memory_fraction,
    }
    lora = serving.lora
    more: dict[str, Any] = {"guided_decoding_backend": "xgrammar"} if serving.guided_decoding else {}
    if metrics:
        more["return_perf_metrics"] = True
    if serving.runtime == "engine":
        # Without gathered logits the server refuses a request for more than one candidate.
        options: dict[str, Any] = {"gather_generation_logits": True, "kv_cache_config": cache, **more}
        return {**options, "enable_lora": True} if lora else options  # ranks and modules are built in
    options = {"kv_cache_config": {**cache, "tokens_per_block": serving.tokens_per_block}, **more}
    if lora:
        options["lora_config"] = {
            "lora_target_modules": list(lora.target_modules),
            "max_lora_rank": lora.max_rank,
            "max_loras": lora.max_adapters,
            "max_cpu_loras": lora.max_adapters,
        }
    return options


def _vllm(bundle: Bundle, serving: Serving, release: Release, port: int, *, metrics: bool) -> ServerPlan:
    # vllm/engine/arg_utils.py and vllm/entrypoints/launchers/cli_args.py of 0.32.0, by `make conformance`.
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
        "--enable-prompt-tokens-details",  # or it does not say how many were cached
        *_lora_flags(serving, count="--max-loras", rank="--max-lora-rank", ranks=_VLLM_RANKS),
    )
    return ServerPlan(
        command,
        _settings(bundle, release, port),
        notes=(_EXACT, _OLDER_VLLM),
        metrics="/metrics" if metrics else "",  # unless --disable-log-stats is given
    )


def _sglang(bundle: Bundle, serving: Serving, release: Release, port: int, *, metrics: bool) -> ServerPlan:
    # sglang/srt/arg_groups/fields/*.py of 0.5.23, by `make conformance`.
    command = (
        "python3",
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
        "--enable-cache-report",  # for clients of its OpenAI endpoints: /generate says it anyway
        *(("--enable-metrics",) if metrics else ()),
        *_lora_flags(serving, count="--max-loras-per-batch", rank="--max-lora-rank"),
    )
    return ServerPlan(
        command,
        _settings(bundle, release, port),
        notes=(_EXACT,),
        metrics="/metrics" if metrics else "",
    )


def _lora_flags(serving: Serving, *, count: str, rank: str, ranks: Sequence[int] = ()) -> tuple[str, ...]:
    """For a server that is told of its adapters at its start: the user adds their names and folders.

    vLLM takes them as ``--lora-modules NAME=FOLDER``, SGLang as ``--lora-paths NAME=FOLDER``.

    Args:
        serving: What the bundle says.
        count: The flag for the number of adapters.
        rank: The flag for their largest rank.
        ranks: The values that this flag takes, in order; any, unless given. The rank is rounded up to one.
    """
    lora = serving.lora
    if lora is None:
        return ()
    most = next((value for value in ranks if value >= lora.max_rank), lora.max_rank)
    return ("--enable-lora", count, str(lora.max_adapters), rank, str(most))


def _settings(bundle: Bundle, release: Release, port: int) -> dict[str, Any]:
    return {
        "backend": "completions",
        "dialect": release.dialect,
        "url": f"http://127.0.0.1:{port}",
        "model": bundle.manifest.name,
        "bundle": str(bundle.path),
        "digest": bundle.digest,
    }
