"""The manifest of an engine bundle: what it is made of, field by field."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from sluicegate.engines.errors import BundleError
from sluicegate.engines.layouts import LayoutName
from sluicegate.schemas import NO_CATEGORY, Severity

MANIFEST: Final = "manifest.json"
DRAFT: Final = "-draft"
"""Ends the name of a bundle that is there to be evaluated."""
_STRICT = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)
_CAME_LATER: Final = ("build", "reasons", "passages")
_STRICT_DATACLASS = ConfigDict(strict=True, extra="forbid")

Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
CategoryName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\s,]([^\n\r,]*[^\s,])?$")
]
TokenId = Annotated[int, Field(ge=0)]


class BundleFile(BaseModel):
    """One file of the bundle; its path is relative to the manifest."""

    model_config = _STRICT

    path: Text
    sha256: Sha256
    bytes: int = Field(ge=0)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path or not pure.parts:
            raise ValueError("must be a relative path inside the bundle")
        return path


class Base(BaseModel):
    """The model everything started from."""

    model_config = _STRICT

    name: Text
    revision: Text
    sha256: Sha256 | None = Field(
        default=None, description="Of the weights as published, where one file holds them."
    )


class Adapter(BaseModel):
    """What was trained on top of the base."""

    model_config = _STRICT

    name: Text
    digest: Sha256


class TokenizerRef(BaseModel):
    """Which tokenizer; control tokens live here, so that its file cannot produce them."""

    model_config = _STRICT

    digest: Sha256
    control_tokens: dict[Text, TokenId]


class LayoutRef(BaseModel):
    """Which prompt layout."""

    model_config = _STRICT

    name: LayoutName
    digest: Sha256


@dataclass(frozen=True, config=_STRICT_DATACLASS)
class Label:
    """One label as it follows the prompt's end, its leading space included."""

    text: Text
    token_ids: Annotated[tuple[TokenId, ...], Field(min_length=1)]


@dataclass(frozen=True, config=_STRICT_DATACLASS)
class LabelMap:
    """The labels of the three severities."""

    safe: Label
    controversial: Label
    unsafe: Label

    def first_ids(self) -> dict[Severity, int]:
        """The token whose probability is the score of each severity."""
        return {
            "safe": self.safe.token_ids[0],
            "controversial": self.controversial.token_ids[0],
            "unsafe": self.unsafe.token_ids[0],
        }


class Build(BaseModel):
    """How a bundle for TensorRT-LLM was built, and on what: written by ``sluicegate engine build``."""

    model_config = _STRICT

    route: Literal["engine", "pytorch"] = Field(
        description="A compiled engine, or a checkpoint for the PyTorch runtime."
    )
    recipe: Sha256 = Field(description="Digest of the recipe; the recipe itself is the file of that role.")
    calibration_data: Sha256 | None = Field(
        description="Of the prompts that quantisation was calibrated on; null where nothing was."
    )
    gpu: Text = Field(description="Name of the GPU it was built on, as the driver gives it.")
    compute_capability: Annotated[str, StringConstraints(pattern=r"^\d{1,2}\.\d$")]
    driver: Text
    tensorrt: Text | None = Field(description="Version; null for the PyTorch route.")
    tensorrt_llm: Text


class BundleLimits(BaseModel):
    """What the engine takes."""

    model_config = _STRICT

    max_prompt_tokens: int = Field(ge=64, le=1 << 20)


class Licence(BaseModel):
    """Under which terms, and whom to name."""

    model_config = _STRICT

    spdx: Text
    attribution: Text


class Manifest(BaseModel):
    """Content of ``manifest.json``."""

    model_config = _STRICT

    schema_version: Literal["1.0"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    base: Base
    adapter: Adapter | None
    quantisation: Text
    runtime: Text
    gpu_arch: Text | None = Field(description="Absent for engines that run on a CPU.")
    layout: LayoutRef
    tokenizer: TokenizerRef
    labels: LabelMap
    categories: Annotated[tuple[CategoryName, ...], Field(min_length=1, max_length=64)]
    limits: BundleLimits
    files: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")], BundleFile]
    licence: Licence
    evaluation: dict[Text, float] = Field(description="Score by name; empty means not evaluated.")
    build: Build | None = Field(default=None, description="Of what was built for TensorRT-LLM.")
    reasons: bool = Field(
        default=False,
        description="True if it learnt to give a reason: then every explanation has to end in one.",
    )
    passages: bool = Field(
        default=False,
        description="True if it overlooks one sentence among many: then a long text's riskiest passage is judged apart, too.",
    )

    @field_validator("categories")
    @classmethod
    def _names_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len({*names, NO_CATEGORY}) != len(names) + 1:
            raise ValueError(f"names must differ from each other and from {NO_CATEGORY}")
        return names

    @property
    def is_draft(self) -> bool:
        """True for what an export wrote without a gate, to be evaluated: no worker serves it."""
        return self.name.endswith(DRAFT) and "gate" not in self.files

    @property
    def digest(self) -> str:
        """``sha256:…`` over the manifest in canonical form: as JSON, keys sorted, no spaces.

        A field that came after version 1.0 is left out while it has its default, so that bundles of before
        keep the digest that settings pin.
        """
        plain = self.model_dump(mode="json")
        for name in _CAME_LATER:
            if plain[name] == type(self).model_fields[name].default:
                del plain[name]
        canonical = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a manifest.

        Raises:
            BundleError: Which field is wrong, and how.
        """
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))[:120] or "document"
            raise BundleError(
                f"{MANIFEST}: {where}: {first['msg']}; correct the field or make the bundle again"
            ) from error
