"""How large a Qwen3 model is, from its ``config.json``: bytes of its weights in each form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.build.recipe import Quantisation
from sluicegate.engines.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path


_CONFIG_BYTES = 1 << 20
_AWQ_BLOCK = 128


class _Config(BaseModel):
    """What is read of ``config.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    architectures: tuple[str, ...]
    num_hidden_layers: int = Field(ge=1, le=1000)
    hidden_size: int = Field(ge=1, le=1 << 20)
    intermediate_size: int = Field(ge=1, le=1 << 20)
    num_attention_heads: int = Field(ge=1, le=4096)
    num_key_value_heads: int = Field(ge=1, le=4096)
    head_dim: int = Field(ge=1, le=4096)
    vocab_size: int = Field(ge=8, le=1 << 20)
    max_position_embeddings: int = Field(ge=64)
    tie_word_embeddings: bool = False


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Numbers of a model."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    positions: int
    """Longest sequence that it was made for."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a checkpoint's ``config.json``.

        Raises:
            BuildError: It cannot be read, or is of no dense Qwen3.
        """
        path = folder / "config.json"
        try:
            with path.open("rb") as stream:
                config = _Config.model_validate(orjson.loads(stream.read(_CONFIG_BYTES)))
        except OSError as error:
            raise BuildError(
                f"base.checkpoint: {path} cannot be read ({error.strerror}); give the folder of a checkpoint"
            ) from error
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise BuildError(
                f"base.checkpoint: {path} is not as Qwen3 has it; give the folder of a dense Qwen3 checkpoint"
            ) from error
        if config.architectures != (ARCHITECTURE,):
            raise BuildError(
                f"base.checkpoint: {path} is not of {ARCHITECTURE}, which is what was looked up for TensorRT-LLM "
                "1.2.1; give a dense Qwen3 checkpoint"
            )
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.vocab_size,
            config.tie_word_embeddings,
            config.max_position_embeddings,
        )

    @property
    def linear_parameters(self) -> int:
        """Of the linear modules in the layers: what quantisation makes smaller."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.ffn)

    @property
    def parameters(self) -> int:
        """All of them."""
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        norms = self.layers * 2 * (self.hidden + self.head_dim) + self.hidden
        return self.linear_parameters + embeddings + norms

    @property
    def kv_bytes(self) -> int:
        """Of one token in the prefix cache, BF16."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim

    def weight_bytes(self, quantisation: Quantisation) -> int:
        """Bytes of the weights; embeddings, output layer and norms stay BF16."""
        each = {"bf16": 2.0, "fp8": 1.0, "w4a16_awq": 0.5 + 2 / _AWQ_BLOCK}[quantisation]
        return int(self.linear_parameters * each) + 2 * (self.parameters - self.linear_parameters)


ARCHITECTURE: Final = "Qwen3ForCausalLM"

QWEN3GUARD_8B: Final = ModelShape(36, 4096, 12_288, 32, 8, 128, 151_936, tied=False, positions=32_768)
"""Qwen3Guard-Gen-8B as published; its vendor serves it with 32,768 positions."""
