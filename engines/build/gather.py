"""The last stage: served files, tokenizer, layout and recipe into a folder, with checksums and a manifest.

All is written beside the bundle's folder, opened as a worker opens it, and renamed when it is whole.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sluicegate.engines.adapt.export.base_parts import BaseParts
from sluicegate.engines.adapt.train.base import checkpoint_tokenizer
from sluicegate.engines.backends.gpu import GPUS, Gpu
from sluicegate.engines.backends.trtllm.serving import VERSION, Serving
from sluicegate.engines.build.plan import BuildPlan
from sluicegate.engines.bundle import MANIFEST, Build, Bundle, BundleFile, BundleLimits, Manifest, file_digest
from sluicegate.engines.errors import BuildError

_CONFIG_BYTES = 4 << 20
_TOKENIZER_BYTES = 64 << 20
_SERVED, _TOKENIZER, _SERVING, _RECIPE = "served", "tokenizer", "serving.json", "recipe.json"
_TAKEN_ALONG = ("tokenizer", "layout", "gate", "calibration")
"""Roles of an exported adapter's bundle that the built one has, too."""
_TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


@dataclass(frozen=True, slots=True)
class GatheredBundle:
    """What is known only once the stages ran."""

    gpu: Gpu
    tensorrt: str
    tensorrt_llm: str
    calibration_data: str | None
    """Digest of the texts."""


def gather(plan: BuildPlan, parts: BaseParts, made: GatheredBundle) -> Bundle:
    """Write the bundle.

    Args:
        plan: All of whose other stages ran.
        parts: The base, opened.
        made: On what it was built.

    Returns:
        The bundle, opened.

    Raises:
        EngineError: What was built is not what the recipe asked for, or the bundle cannot be written.
    """
    target = plan.paths.out
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.part-", dir=target.parent) as temporary:
        folder = Path(temporary) / "bundle"
        folder.mkdir(mode=0o755)
        manifest = _source(plan, parts)
        small = _small_files(plan, parts, manifest)
        for name, content in small.values():
            (folder / name).write_bytes(content)
        files = {role: name for role, (name, _) in small.items()}
        tokenizer = [path for name in _TOKENIZER_FILES if (path := plan.checkpoint / name).is_file()]
        served = [path for path in _files(plan.served) if path.name not in _TOKENIZER_FILES]
        if plan.recipe.route == "engine":
            files |= _take(served, folder / _SERVED) | _take(tokenizer, folder / _TOKENIZER)
        else:
            files |= _take([*served, *tokenizer], folder / _SERVED)
        (folder / _RECIPE).write_bytes(_json(plan.recipe.document()))
        (folder / _SERVING).write_bytes(_json(_serving(plan)))
        files |= {"recipe": _RECIPE, "serving": _SERVING}
        entries = {role: _entry(folder, path) for role, path in files.items()}
        whole = _manifest(plan, manifest, made, entries)
        (folder / MANIFEST).write_bytes(_json(whole.model_dump(mode="json")))
        _check(Bundle.open(folder))
        if target.is_dir():
            target.rmdir()
        folder.rename(target)
    return Bundle.open(target, verify=False)


def _source(plan: BuildPlan, parts: BaseParts) -> Manifest:
    """The manifest of what went in: the export of the adapter, or the base alone."""
    if plan.recipe.adapter is None:
        return parts.manifest
    return Bundle.open(plan.paths.merged, verify=False).manifest


def _small_files(plan: BuildPlan, parts: BaseParts, source: Manifest) -> dict[str, tuple[str, bytes]]:
    """Role to name and content of what is taken along."""
    if plan.recipe.adapter is None:
        return parts.small_files
    return {
        role: (source.files[role].path, (plan.paths.merged / source.files[role].path).read_bytes())
        for role in _TAKEN_ALONG
        if role in source.files
    }


def _files(folder: Path) -> list[Path]:
    """What is served; a folder in it, or a hidden file, is none of it."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _take(files: list[Path], target: Path) -> dict[str, str]:
    """Copy files into the bundle; returns role to path."""
    target.mkdir(mode=0o755)
    for path in files:
        shutil.copyfile(path, target / path.name)
    return {f"{target.name}_{number}": f"{target.name}/{path.name}" for number, path in enumerate(files, 1)}


def _entry(folder: Path, path: str) -> BundleFile:
    (folder / path).chmod(0o644)
    return BundleFile(path=path, sha256=file_digest(folder / path), bytes=(folder / path).stat().st_size)


def _manifest(
    plan: BuildPlan, source: Manifest, made: GatheredBundle, files: dict[str, BundleFile]
) -> Manifest:
    recipe, kind = plan.recipe, GPUS[plan.recipe.gpu]
    base = source.base
    if recipe.base.revision is not None:
        base = base.model_copy(update={"revision": recipe.base.revision})
    evaluation = source.evaluation
    if recipe.quantisation != "bf16":
        evaluation = {f"before quantisation: {name}": score for name, score in evaluation.items()}
    licence = source.licence.model_copy(update={"spdx": recipe.base.licence})
    build = Build(
        route=recipe.route,
        recipe=recipe.digest,
        calibration_data=made.calibration_data,
        gpu=made.gpu.name,
        compute_capability=made.gpu.compute_capability,
        driver=made.gpu.driver,
        tensorrt=made.tensorrt if recipe.route == "engine" else None,
        tensorrt_llm=made.tensorrt_llm,
    )
    return source.model_copy(
        update={
            "name": recipe.name,
            "base": base,
            "licence": licence,
            "quantisation": recipe.quantisation,
            "runtime": f"TensorRT-LLM {VERSION} {recipe.route}",
            "gpu_arch": f"{kind.architecture} {kind.compute_capability}",
            "limits": BundleLimits(max_prompt_tokens=recipe.limits.max_prompt_tokens),
            "files": files,
            "evaluation": evaluation,
            "build": build,
        }
    )


def _serving(plan: BuildPlan) -> dict[str, Any]:
    recipe, limits = plan.recipe, plan.recipe.limits
    is_engine = recipe.route == "engine"
    return {
        "schema_version": "1.0",
        "runtime": recipe.route,
        "tensorrt_llm": VERSION,
        "folder": _SERVED,
        "tokenizer_folder": _TOKENIZER if is_engine else _SERVED,
        "vocab_size": _vocabulary(plan),
        **limits.model_dump(exclude={"max_prompt_tokens"}),
        "tokens_per_block": recipe.tokens_per_block,
        "gather_generation_logits": is_engine,
        "paged_context_fmha": is_engine,
        "guided_decoding": recipe.guided_decoding,
        "free_gpu_memory_fraction": recipe.free_gpu_memory_fraction,
        "lora": None if recipe.lora is None else recipe.lora.model_dump(mode="json"),
    }


def _vocabulary(plan: BuildPlan) -> int:
    """Columns of the logits, from what was built; for an engine, that it was built as asked, too.

    Raises:
        BuildError: It says nothing, or was built for something else.
    """
    path = plan.served / "config.json"
    try:
        with path.open("rb") as stream:
            config = orjson.loads(stream.read(_CONFIG_BYTES))
        if plan.recipe.route == "pytorch":
            return int(config["vocab_size"])
        built, found = config["build_config"], int(config["pretrained_config"]["vocab_size"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BuildError(
            f"{path} is not as the stage before writes it ({type(error).__name__}); build that stage again"
        ) from error
    for field, wanted in plan.recipe.limits.model_dump(exclude={"max_prompt_tokens"}).items():
        if built.get(field, wanted) != wanted:
            raise BuildError(
                f"{path}: build_config.{field} is {built[field]}, the recipe asks for {wanted}; "
                "remove the work folder and build again"
            )
    return found


def _check(bundle: Bundle) -> None:
    """As a worker and its server will see it.

    Raises:
        BundleError: A worker would refuse it.
        BuildError: A server would tokenise with another tokenizer than the worker.
    """
    serving = Serving.of(bundle)
    path = bundle.path / str(serving.tokenizer_folder) / "tokenizer.json"
    with path.open("rb") as stream:
        theirs, _ = checkpoint_tokenizer(stream.read(_TOKENIZER_BYTES))
    if theirs.digest != bundle.tokenizer.digest:
        raise BuildError(
            f"{serving.tokenizer_folder}/tokenizer.json: its tokenizer is {theirs.digest}, the base's "
            f"{bundle.tokenizer.digest}; a stage rewrote it, so remove the work folder and build again"
        )


def _json(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
