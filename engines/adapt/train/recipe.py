"""The recipe of a training: a YAML file, checked whole before anything is loaded; its schedule, and a wish to end."""

from __future__ import annotations

import hashlib
import math
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.layouts import LayoutName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType


_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_RECIPE_BYTES = 1 << 20

Share = Annotated[float, Field(ge=0, le=1)]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]

ALL_LINEAR: tuple[str, ...] = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)
"""Every linear module of a Llama or Qwen layer."""

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"r": 8, "alpha": 16.0, "targets": ("q_proj", "v_proj")},
    "strong": {"r": 16, "alpha": 32.0, "targets": ALL_LINEAR},
}


class TrainingBase(BaseModel):
    """What is adapted: an engine bundle with a GGUF model, or a checkpoint folder in the Hugging Face form."""

    model_config = _STRICT

    bundle: str | None = Field(
        default=None, description="Folder of a bundle; `cpu` is the small CPU model's, `cpu:NAME` another's."
    )
    checkpoint: str | None = Field(
        default=None, description="Folder with config.json, safetensors and tokenizer.json."
    )
    layout: LayoutName | None = Field(
        default=None,
        description="A checkpoint needs one. A bundle has its own, unless `compact` or `compact-short` stands here.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.bundle is None) == (self.checkpoint is None):
            raise ValueError("give one of bundle and checkpoint, such as bundle: cpu")
        if self.checkpoint is not None and self.layout is None:
            raise ValueError("a checkpoint needs a layout, such as layout: vendor")
        if self.bundle is not None and self.layout == "vendor":
            raise ValueError("layout: vendor is read from a checkpoint's template; a bundle has none")
        return self


class LoraRecipe(BaseModel):
    """Size and place of the adapter."""

    model_config = _STRICT

    preset: Literal["small", "strong"] | None = None
    r: int = Field(ge=1, le=512)
    alpha: float = Field(gt=0)
    targets: Annotated[tuple[ModuleName, ...], Field(min_length=1, max_length=32)]
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        return {**PRESETS[name], **given} if isinstance(name, str) and name in PRESETS else given


class Data(BaseModel):
    """Which rows, how often, and what is shown of them."""

    model_config = _STRICT

    planned_rows: int = Field(ge=1, description="Rows of the whole training, over all sittings.")
    balance: Share = Field(
        default=0.7,
        description="Exponent on a source's rows that gives its share: 1 as the data are, 0 all sources equal.",
    )
    one_sided_languages: Literal["leave_out", "keep"] = Field(
        default="leave_out",
        description="A language with one severity only would teach that the language is the label.",
    )
    hinted_share: Share = Field(
        default=0.25, description="Of the rows, how many show their language and region hints."
    )
    max_tokens: int = Field(
        default=512, ge=64, description="Prompt tokens; a longer text is cut at its end until it fits."
    )


class Optimiser(BaseModel):
    """AdamW with a cosine schedule over the planned rows."""

    model_config = _STRICT

    learning_rate: float = Field(default=2e-4, gt=0, lt=1)
    warmup_share: Share = Field(default=0.03, description="Of the planned steps.")
    final_share: Share = Field(default=0.0, description="Of the learning rate, at the end.")
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    batch_rows: int = Field(default=16, ge=1, description="Rows of one optimiser step.")
    micro_tokens: int = Field(
        default=2048, ge=64, description="Padded tokens computed at once; the rest of a step is accumulated."
    )
    label_weight: float = Field(default=4.0, gt=0, description="Of the label's first token; any other has 1.")


class Dev(BaseModel):
    """Measuring on rows that never train."""

    model_config = _STRICT

    rows: int = Field(default=400, ge=0, description="Size of the fixed stratified sample.")
    every_rows: int = Field(default=1000, ge=1)
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Stop after this number of measurements without a better one. Absent: never.",
    )


class TrainingRecipe(BaseModel):
    """Everything that decides what a training gives. Equal recipes on equal data give equal adapters."""

    model_config = _STRICT

    base: TrainingBase
    lora: LoraRecipe
    data: Data
    optimiser: Optimiser = Optimiser()
    dev: Dev = Dev()
    precision: Literal["float32", "bf16_autocast", "bf16"] = Field(
        default="bf16_autocast",
        description="float32; weights in float32 and products in bf16; or all of the base in bf16, as on a GPU.",
    )
    recompute: bool = Field(
        default=False, description="Compute activations twice, to hold fewer of them: for large models."
    )
    seed: int = Field(default=1, ge=0, lt=2**31)
    start_from: str | None = Field(
        default=None,
        description="Folder of an adapter to begin with, of the same size; absent: a fresh one.",
    )

    @property
    def digest(self) -> str:
        """``sha256:…`` over every field that differs from its default: a field added later changes no digest."""
        plain = orjson.dumps(self.model_dump(mode="json", exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(plain).hexdigest()}"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe.

        Raises:
            TrainingError: The file cannot be read, or which field is wrong, and how.
        """
        try:
            with path.open("rb") as stream:
                raw = stream.read(_RECIPE_BYTES + 1)
            if len(raw) > _RECIPE_BYTES:
                raise TrainingError(f"{path} is larger than {_RECIPE_BYTES:,} bytes; give a recipe")
            document = yaml.safe_load(raw)
        except OSError as error:
            raise TrainingError(f"{path} cannot be read ({error.strerror}); check the name") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" (line {mark.line + 1})" if mark else ""
            raise TrainingError(f"{path} is not YAML{line}; see docs/adapt.md") from error
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "recipe"
            raise TrainingError(f"{path}: {where}: {first['msg']}; see docs/adapt.md") from error


def learning_rate(step: int, total: int, optimiser: Optimiser) -> float:
    """Rate of a step, from 0: a straight rise, then half a cosine over the planned steps.

    It knows the plan and not the clock: a training in several sittings has the rates of one in a single sitting.
    """
    warmup = max(1, round(total * optimiser.warmup_share))
    if step < warmup:
        return optimiser.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    falling = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return optimiser.learning_rate * (optimiser.final_share + (1 - optimiser.final_share) * falling)


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far a training is. Part of every checkpoint."""

    step: int = 0
    """Steps done; the next one has this index."""
    rows: int = 0
    seconds: float = 0.0
    """Time in steps, over all sittings."""
    best: float | None = None
    """Best macro-F1 on dev."""
    best_rows: int = 0
    strikes: int = 0
    """Measurements since the best one."""

    def measured(self, macro_f1: float) -> TrainingProgress:
        """The progress after a measurement."""
        if self.best is None or macro_f1 > self.best:
            return replace(self, best=macro_f1, best_rows=self.rows, strikes=0)
        return replace(self, strikes=self.strikes + 1)


class Stop:
    """Asked after every step whether to end, and why.

    Args:
        minutes: After this time it ends; None for no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self._ends = None if minutes is None else time.monotonic() + 60 * minutes
        self._signal: str | None = None

    @property
    def reason(self) -> str | None:
        """Why to end; None to go on."""
        if self._signal is not None:
            return self._signal
        return "time is up" if self._ends is not None and time.monotonic() >= self._ends else None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Hear SIGTERM and Ctrl-C inside the block. A second one ends the process as usual."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def heard(number: int, _frame: FrameType | None) -> None:
            self._signal = signal.Signals(number).name
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in before:
            signal.signal(number, heard)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
