"""A LoRA adapter in the form that peft writes: weights and config, read without torch.

What would make the merged weights differ from what was trained, and is not computed here, is refused.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from sluicegate.engines.errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"

_CONFIG_BYTES = 1 << 20
_WEIGHTS_BYTES = 4 << 30  # r 512 on all linear modules of an 8B model, float16, is 2.8 GB
_MOST_TENSORS = 20_000
_MOST_RANK = 4096
_NAME = re.compile(r"base_model\.model\.([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)\.lora_([AB])\.weight")
_FIX = "give a folder that `sluicegate adapt train` wrote"

# Fields of adapter_config.json that do not change what the adapter computes, or are read here. Any other
# one, known today or not, has to be empty.
_READ = {"peft_type", "r", "lora_alpha", "target_modules", "bias", "init_lora_weights"}
_IDLE = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",  # of use_qalora, which has to be off
    "revision",
    "task_type",
}
_EMPTY: tuple[Any, ...] = (None, False, {}, [])


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """An adapter: for each adapted module two factors, whose product times ``alpha / r`` is added to its weight."""

    r: int
    alpha: float
    factors: dict[str, tuple[Any, Any]]
    """Module, such as ``model.layers.0.self_attn.q_proj``, to A ``[r, in]`` and B ``[out, r]``."""
    raw: bytes
    """The file with the weights."""

    @property
    def digest(self) -> str:
        """``sha256:…`` of the file with the weights, as an evaluation of a training's adapter names it."""
        return f"sha256:{hashlib.sha256(self.raw).hexdigest()}"

    @property
    def targets(self) -> tuple[str, ...]:
        """Last part of the names of the adapted modules, sorted."""
        return tuple(sorted({module.rpartition(".")[2] for module in self.factors}))

    def delta(self, module: str) -> Any:
        """What is added to a module's weight, ``[out, in]``, float32.

        The ranks are added one after the other, in float32: a matrix product of a library sums in an order that
        depends on the processor, and the result would not be the same bytes everywhere.

        Args:
            module: One of :attr:`factors`.
        """
        import numpy as np  # noqa: PLC0415 - of the extra `cpu`

        a, b = self.factors[module]
        scaled = a.astype(np.float32) * np.float32(self.alpha / self.r)
        columns = b.astype(np.float32)
        total = np.zeros((b.shape[0], a.shape[1]), np.float32)
        term = np.empty_like(total)
        for rank in range(self.r):
            np.multiply(columns[:, rank, None], scaled[rank], out=term)
            np.add(total, term, out=total)
        return total

    def peft_config(self, base: str) -> dict[str, Any]:
        """``adapter_config.json`` with what serving needs; no path of the machine it was trained on.

        Args:
            base: Name of the base.
        """
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": self.r,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "target_modules": list(self.targets),
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "modules_to_save": None,
            "use_dora": False,
            "use_rslora": False,
        }


def read_adapter(folder: Path) -> PeftAdapter:
    """Read an adapter's folder.

    Args:
        folder: Holds :data:`WEIGHTS` and :data:`CONFIG`.

    Raises:
        ExportError: Which file and field cannot be used, and the fix.
    """
    config = _config(folder / CONFIG)
    return parse_adapter(
        _read(folder / WEIGHTS, _WEIGHTS_BYTES), r=config["r"], alpha=config["lora_alpha"], name=WEIGHTS
    )


def parse_adapter(raw: bytes, *, r: int, alpha: float, name: str) -> PeftAdapter:
    """An adapter from the content of its file.

    Args:
        raw: The safetensors file.
        r: Its rank.
        alpha: Its alpha.
        name: The file, for messages.

    Raises:
        ExportError: It is no adapter of this rank.
    """
    arrays = _arrays(raw, name)
    sides: dict[str, dict[str, Any]] = {}
    for key, array in arrays.items():
        found = _NAME.fullmatch(key)
        if found is None:
            raise ExportError(f"{name}: {_shown(key)} is no weight of a LoRA on a linear module; {_FIX}")
        sides.setdefault(found[1], {})[found[2]] = array
    factors = {}
    for module, pair in sorted(sides.items()):
        a, b = pair.get("A"), pair.get("B")
        if a is None or b is None:
            raise ExportError(f"{name}: {_shown(module)} has one of its two factors only; {_FIX}")
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != r or b.shape[1] != r:
            raise ExportError(f"{name}: {_shown(module)}: its factors are not of rank {r}; {_FIX}")
        factors[module] = (a, b)
    if not factors:
        raise ExportError(f"{name} holds no weights; {_FIX}")
    return PeftAdapter(r=r, alpha=alpha, factors=factors, raw=raw)


def _config(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(_read(path, _CONFIG_BYTES))
    except orjson.JSONDecodeError as error:
        raise ExportError(f"{path} is not JSON; {_FIX}") from error
    if not isinstance(document, dict):
        raise ExportError(f"{path} is not an object; {_FIX}")
    if document.get("peft_type") != "LORA":
        raise ExportError(f"{CONFIG}: peft_type is not LORA; only LoRA adapters can be exported")
    r, alpha = document.get("r"), document.get("lora_alpha")
    if not isinstance(r, int) or isinstance(r, bool) or not 1 <= r <= _MOST_RANK:
        raise ExportError(f"{CONFIG}: r is no number from 1 to {_MOST_RANK}; {_FIX}")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1e6:
        raise ExportError(f"{CONFIG}: lora_alpha is no positive number; {_FIX}")
    if document.get("bias", "none") != "none":
        raise ExportError(f"{CONFIG}: bias is not none; train without biases")
    if document.get("init_lora_weights", True) not in (True, False, "gaussian"):
        raise ExportError(f"{CONFIG}: init_lora_weights changed the base's own weights; train without it")
    for field, value in document.items():
        if field not in _READ | _IDLE and not any(value is one or value == one for one in _EMPTY):
            raise ExportError(f"{CONFIG}: {_shown(field)} is set, which cannot be exported; train without it")
    return {"r": r, "lora_alpha": float(alpha)}


def _arrays(raw: bytes, name: str) -> dict[str, Any]:
    """Tensors as numpy arrays: float16 and float32 as they are, bfloat16 as float32."""
    try:
        import numpy as np  # noqa: PLC0415 - of the extra `cpu`
        import safetensors  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise ExportError(f"{error.name} is missing: pip install 'sluicegate[cpu]'") from error

    read: Any = safetensors.deserialize
    try:
        tensors = read(raw)
    except safetensors.SafetensorError as error:
        raise ExportError(f"{name} is no safetensors file, or is cut off; {_FIX}") from error
    if len(tensors) > _MOST_TENSORS:
        raise ExportError(f"{name} holds {len(tensors)} tensors, more than {_MOST_TENSORS}; {_FIX}")
    arrays = {}
    for key, tensor in tensors:
        shape, data, kind = tensor["shape"], tensor["data"], tensor["dtype"]
        if kind == "BF16":
            array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind in ("F16", "F32"):
            array = np.frombuffer(data, "<f2" if kind == "F16" else "<f4")
        else:
            raise ExportError(f"{name}: {_shown(key)} is {kind}; weights are F16, BF16 or F32")
        if not np.isfinite(array).all():
            raise ExportError(f"{name}: {_shown(key)} holds values that are no numbers; train again")
        arrays[key] = array.reshape(shape)
    return arrays


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        if path.stat().st_size > limit_bytes:
            raise ExportError(f"{path} is larger than {limit_bytes} bytes; {_FIX}")
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path} cannot be read ({error.strerror}); {_FIX}") from error


def _shown(name: str) -> str:
    """A name from a file, on one line and short."""
    return ascii(name)[:120]
