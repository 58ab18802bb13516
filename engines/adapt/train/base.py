"""What a training adapts, as far as it needs no torch: tokenizer, layout, labels and where the weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train import recipe
from sluicegate.engines.bundle import Bundle, BundleTokenizer, Label, LabelMap, TextTokenizer
from sluicegate.engines.cpu_model import base_model
from sluicegate.engines.layouts import CompactLayout, Layout, LayoutName, split_template

END = "<|im_end|>"
_FILE_BYTES = 64 << 20  # several times the largest tokenizer.json in use


@dataclass(frozen=True, slots=True)
class OpenedBase:
    """A base, opened. ``gguf`` names the model's file inside ``folder``; None means safetensors."""

    name: str
    folder: Path
    gguf: str | None
    tokenizer: TextTokenizer
    layout: Layout
    labels: LabelMap
    end_id: int


def open_base(wanted: recipe.TrainingBase) -> OpenedBase:
    """Open the base that a recipe names; the weights are not read.

    Raises:
        TrainingError: A file is missing or of the wrong kind, and which.
        BundleError: The bundle's parts do not belong together.
    """
    if wanted.bundle is not None:
        return _from_bundle(wanted.bundle, wanted.layout)
    return _from_checkpoint(Path(wanted.checkpoint or ""), wanted.layout or "compact")


def _from_bundle(name: str, layout: LayoutName | None) -> OpenedBase:
    known = base_model(name)
    folder = known.bundle_path(base=True) if known else Path(name)
    if known and not folder.is_dir():
        raise TrainingError(
            f"base.bundle: the CPU model's base is not there; run sluicegate engine fetch-cpu --model {known.name} --base first"
        )
    bundle = Bundle.open(folder, verify=False)
    weights = bundle.file("model")
    if weights.suffix != ".gguf":
        raise TrainingError(f"base.bundle: {weights.name} is no GGUF; give the checkpoint folder instead")
    end = bundle.manifest.tokenizer.control_tokens.get(END)
    if end is None:
        raise TrainingError(f"base.bundle: its tokenizer has no {END}; use a base with chat turns")
    return OpenedBase(
        bundle.manifest.base.name,
        folder,
        weights.name,
        bundle.tokenizer,
        bundle.layout if layout is None or layout == "vendor" else CompactLayout(layout),
        bundle.labels,
        end,
    )


def _from_checkpoint(folder: Path, layout: LayoutName) -> OpenedBase:
    tokenizer, control = checkpoint_tokenizer(_read(folder / "tokenizer.json"))
    if END not in control:
        raise TrainingError(f"base.checkpoint: its tokenizer has no {END}; use a base with chat turns")
    return OpenedBase(
        folder.name,
        folder,
        None,
        tokenizer,
        split_template(_chat_template(folder)) if layout == "vendor" else CompactLayout(layout),
        LabelMap(*(_label(tokenizer, text) for text in (" Safe", " Controversial", " Unsafe"))),
        control[END],
    )


def checkpoint_tokenizer(raw: bytes) -> tuple[BundleTokenizer, dict[str, int]]:
    """A published ``tokenizer.json`` as the tokenizer of a bundle, and its control tokens.

    Raises:
        TrainingError: It is no tokenizer.
    """
    plain, control = without_control_tokens(raw)
    return BundleTokenizer(plain, control), control


def without_control_tokens(raw: bytes) -> tuple[bytes, dict[str, int]]:
    """A published ``tokenizer.json`` as a bundle has it, and its control tokens.

    Control tokens leave the file, so that user text cannot become one; ids stay as they are.

    Raises:
        TrainingError: It is no tokenizer.
    """
    try:
        document: dict[str, Any] = orjson.loads(raw)
        control = {token["content"]: token["id"] for token in document["added_tokens"]}
        vocabulary = document["model"]["vocab"]
        document["model"]["vocab"] = {text: i for text, i in vocabulary.items() if text not in control}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            "base.checkpoint: tokenizer.json is not of the published form; take the base's own"
        ) from error
    document.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    return orjson.dumps(document), control


def _chat_template(folder: Path) -> str:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return _read(own).decode(errors="replace")
    template = orjson.loads(_read(folder / "tokenizer_config.json")).get("chat_template")
    if not isinstance(template, str):
        raise TrainingError("base.checkpoint: no chat template beside it; give chat_template.jinja")
    return template


def _label(tokenizer: TextTokenizer, text: str) -> Label:
    return Label(text=text, token_ids=tuple(tokenizer.encode_static(text)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_FILE_BYTES)
    except OSError as error:
        raise TrainingError(
            f"base.checkpoint: {path} cannot be read ({error.strerror}); check the folder"
        ) from error
