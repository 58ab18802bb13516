"""The recipe of a build: a YAML file, checked whole before anything is run.

What TensorRT-LLM 1.2.1 is known not to do, or to do wrongly, is refused here (docs/engine.md).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import orjson
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from sluicegate.engines.backends.dialects import EXPLANATION_TOKENS
from sluicegate.engines.backends.gpu import GPUS, GpuName
from sluicegate.engines.backends.trtllm.serving import VERSION, LoraLimits
from sluicegate.engines.errors import BuildError
from sluicegate.engines.layouts import LayoutName

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_RECIPE_BYTES = 1 << 20

FORCED_TOKENS: Final = 16
"""Follow a prompt when it is explained: the label, and the head of the categories."""

LORA_MODULES: Final = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_dense",
    "mlp_h_to_4h",
    "mlp_gate",
    "mlp_4h_to_h",
)
"""The linear modules of a Qwen3 layer, in TensorRT-LLM's names."""

Quantisation = Literal["fp8", "w4a16_awq", "bf16"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,56}$")]
Folder = Annotated[Path, Field(description="Relative to the recipe's own folder, or absolute.")]


class BuildBase(BaseModel):
    """The checkpoint that everything starts from."""

    model_config = _STRICT

    checkpoint: Folder
    layout: LayoutName
    licence: Text = Field(description="SPDX name, such as Apache-2.0.")
    revision: Text | None = Field(default=None, description="Of the checkpoint, for the manifest.")


class BuildAdapter(BaseModel):
    """What was trained on the base; it is merged into it."""

    model_config = _STRICT

    folder: Folder
    name: Name | None = Field(default=None, description="Verdicts carry it; the build's own unless given.")
    gate: Folder | None = Field(default=None, description="Report of `sluicegate adapt gate`.")
    override: Text | None = Field(default=None, description="Reason to build without a passed gate.")
    evaluation: Folder | None = Field(default=None, description="Folder of `sluicegate adapt evaluate`.")
    calibration: Folder | None = Field(
        default=None, description="Of the scores: calibration.json of `adapt calibrate`."
    )
    extra_categories: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _is_decided(self) -> Self:
        if self.gate is None and self.override is None:
            raise ValueError("give gate, or override with the reason to build without one")
        return self


class CalibrationData(BaseModel):
    """Posts whose prompts quantisation is calibrated on: the tenant's own."""

    model_config = _STRICT

    posts: Folder = Field(description="One post in JSON a line, as producers send it.")
    count: int = Field(
        default=512,
        ge=8,
        le=4096,
        description="Prompts, which are joined to texts of about one length. AWQ takes 32 of those at most.",
    )
    max_tokens: int = Field(default=1024, ge=64, le=32_768, description="Longer prompts are left out.")


class BuildLimits(BaseModel):
    """What the engine is built for."""

    model_config = _STRICT

    max_prompt_tokens: int = Field(default=2048, ge=64, le=32_768)
    max_input_len: int = Field(default=2112, ge=64, le=1 << 16)
    max_seq_len: int = Field(default=2176, ge=64, le=1 << 16)
    max_num_tokens: int = Field(
        default=8192, ge=64, le=1 << 18, description="In one step: its time is the floor of latency."
    )
    max_batch_size: int = Field(default=256, ge=1, le=4096)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        longest = self.max_prompt_tokens + FORCED_TOKENS
        for field, needed in (("max_input_len", longest), ("max_seq_len", longest + EXPLANATION_TOKENS)):
            if (built := getattr(self, field)) < needed:
                raise ValueError(
                    f"{field} is {built}, and prompts of {self.max_prompt_tokens} tokens need {needed}; "
                    "lower max_prompt_tokens, or build with more"
                )
        if self.max_seq_len <= self.max_input_len:
            raise ValueError("max_seq_len must exceed max_input_len by the answer; raise it")
        if self.max_input_len > self.max_num_tokens:
            raise ValueError("max_num_tokens must be at least max_input_len, since prompts are not chunked")
        if self.max_batch_size > self.max_num_tokens:
            raise ValueError("max_batch_size must not exceed max_num_tokens; lower it")
        return self


class BuildRecipe(BaseModel):
    """Everything that decides what a build gives."""

    model_config = _STRICT

    schema_version: Literal["1.0"]
    name: Name
    tensorrt_llm: str = Field(default=VERSION, max_length=32)
    route: Literal["engine", "pytorch"] = Field(
        description="A compiled engine, or a checkpoint for TensorRT-LLM's PyTorch runtime."
    )
    gpu: GpuName
    quantisation: Quantisation
    base: BuildBase
    adapter: BuildAdapter | None = None
    lora: LoraLimits | None = Field(
        default=None, description="Room for adapters that requests name; none is merged then."
    )
    calibration_data: CalibrationData | None = None
    limits: BuildLimits = BuildLimits()
    tokens_per_block: Literal[8, 16, 32, 64, 128] = 32
    reuse: bool = Field(default=True, description="Prompts share the prefix cache.")
    kv_cache: Literal["bf16", "fp8"] = "bf16"
    host_cache_size: int | None = Field(default=None, description="Refused: there to say why.")
    gather_generation_logits: bool = True
    paged_context_fmha: bool = True
    guided_decoding: bool = False
    free_gpu_memory_fraction: float = Field(default=0.85, gt=0, lt=1)
    container: bool = Field(
        default=True, description="Run the stages in NVIDIA's container; false: this is it."
    )

    @field_validator("tensorrt_llm")
    @classmethod
    def _is_the_release(cls, version: str) -> str:
        if version == "1.2.0":
            raise ValueError(f"1.2.0 corrupts reused prefixes (#12673, mended by #12770); use {VERSION}")
        if version != VERSION:
            raise ValueError(f"this version builds with {VERSION}, the last release that compiles; use that")
        return version

    @field_validator("host_cache_size")
    @classmethod
    def _stays_on_the_gpu(cls, size: int | None) -> int | None:
        if size is not None:
            raise ValueError(
                "a cache in host memory gave one prompt's tokens to another (#8274, #8813); remove it"
            )
        return size

    @field_validator("lora", mode="before")
    @classmethod
    def _as_yaml_has_it(cls, given: Any) -> Any:
        """YAML knows lists alone, where ``serving.json`` is strict."""
        modules = given.get("target_modules") if isinstance(given, dict) else None
        return {**given, "target_modules": tuple(modules)} if isinstance(modules, list) else given

    @field_validator("lora")
    @classmethod
    def _modules_are_known(cls, lora: LoraLimits | None) -> LoraLimits | None:
        if lora is not None and (unknown := sorted(set(lora.target_modules) - set(LORA_MODULES))):
            raise ValueError(f"target_modules has no {unknown[0]}; there are {', '.join(LORA_MODULES)}")
        return lora

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in (self._quantisation_fault(), self._cache_fault(), self._adapter_fault()):
            if fault:
                raise ValueError(fault)
        return self

    def _quantisation_fault(self) -> str | None:
        kind = GPUS[self.gpu]
        if self.quantisation == "fp8" and not kind.computes_fp8:
            return (
                f"quantisation: fp8 needs Ada or Hopper, and {kind.name} is {kind.architecture} "
                f"({kind.compute_capability}); use w4a16_awq"
            )
        if self.quantisation == "bf16" and self.calibration_data is not None:
            return "calibration_data: bf16 is not calibrated; remove it"
        if self.quantisation != "bf16" and self.calibration_data is None:
            return (
                f"calibration_data: {self.quantisation} is calibrated on your own posts; name a file of them"
            )
        if self.calibration_data and self.calibration_data.max_tokens > self.limits.max_prompt_tokens:
            return "calibration_data: max_tokens is more than limits.max_prompt_tokens; lower it"
        return None

    def _cache_fault(self) -> str | None:
        if self.kv_cache == "fp8":
            return (
                "kv_cache: fp8 with reuse gave wrong answers (#2699), and engines of Qwen3 with it did not build (#9298); "
                "use bf16"
            )
        if not self.reuse:
            return "reuse: every prompt begins with the layout's tokens, so it always pays; remove the field"
        if not self.gather_generation_logits:
            return "gather_generation_logits: logits are asked for when an engine is loaded, not built; remove the field"
        if not self.paged_context_fmha:
            return "paged_context_fmha: an engine without reuses no prefix; remove the field"
        return None

    def _adapter_fault(self) -> str | None:
        if self.adapter is not None and self.lora is not None:
            return "lora: adapters by the request are added to the base alone; remove adapter or lora"
        if self.lora is not None and self.quantisation == "w4a16_awq":
            return "lora: adapters on 4-bit weights were not looked up for 1.2.1; merge the adapter instead"
        return None

    @property
    def calibration_count(self) -> int:
        """Texts to calibrate on, at most; AWQ looks at no more than 32, whatever it is told."""
        count = self.calibration_data.count if self.calibration_data else 0
        return min(count, 32) if self.quantisation == "w4a16_awq" else count

    def document(self) -> dict[str, Any]:
        """Every field that differs from its default; of paths the last part, since the rest is this machine's."""
        plain: dict[str, Any] = _without_folders(self.model_dump(exclude_defaults=True))
        return plain

    @property
    def digest(self) -> str:
        """``sha256:…`` over :meth:`document`: a field added later changes no digest."""
        canonical = orjson.dumps(self.document(), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe; relative paths in it are taken from its own folder.

        Raises:
            BuildError: The file cannot be read, or which field is wrong, and the fix.
        """
        try:
            with path.open("rb") as stream:
                document = yaml.safe_load(stream.read(_RECIPE_BYTES))
        except OSError as error:
            raise BuildError(f"{path} cannot be read ({error.strerror}); check the name") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, and a deep nest
            mark = getattr(error, "problem_mark", None)
            line = f" (line {mark.line + 1})" if mark else ""
            raise BuildError(f"{path} is not YAML{line}; see docs/engine.md") from error
        try:
            return cls.model_validate(_absolute(document, path.absolute().parent))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:120]
            message = first["msg"].removeprefix("Value error, ")
            fix = "" if first["type"] == "value_error" else "; see docs/engine.md"
            raise BuildError(f"{path.name}: {f'{where}: ' if where else ''}{message}{fix}") from error


_PATHS: Final = {
    "base": ("checkpoint",),
    "adapter": ("folder", "gate", "evaluation", "calibration"),
    "calibration_data": ("posts",),
}


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(one) for name, one in value.items()}
    return value.name if isinstance(value, Path) else value


def _absolute(document: Any, folder: Path) -> Any:
    """The document with its paths made absolute, as far as it is of the right form."""
    if not isinstance(document, dict):
        return document
    made = dict(document)
    for section, fields in _PATHS.items():
        if isinstance(given := document.get(section), dict):
            made[section] = {
                name: str(folder / value) if name in fields and isinstance(value, str) else value
                for name, value in given.items()
            }
    return made
