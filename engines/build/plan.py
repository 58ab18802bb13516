"""From a recipe to stages: what is run, what it writes, and what it is expected to take. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sluicegate.engines.backends.gpu import GPUS
from sluicegate.engines.build import commands
from sluicegate.engines.build.commands import IMAGE
from sluicegate.engines.build.recipe import BuildRecipe
from sluicegate.engines.build.shape import ModelShape
from sluicegate.engines.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ASSUMED: Final = {
    "disk_bytes_s": 5e8,  # a local disk, and a library between
    "calibration_tokens_s": 5e3,  # one prompt after the other, without a serving engine
    "awq_search_factor": 20.0,  # tries that many scales on each of its prompts
    "compile_bytes_s": 2e7,
    "start_s": 90.0,  # of a container and its libraries
}
"""Rates that no one measured on these machines; the order of magnitude is what they are good for."""


def copying(read: int, written: int) -> float:
    """Minutes to read and write this many bytes."""
    return (read + written) / ASSUMED["disk_bytes_s"] / 60


def starting() -> float:
    """Minutes until a container's libraries are loaded."""
    return ASSUMED["start_s"] / 60


def calibrating(recipe: BuildRecipe) -> float:
    """Minutes of calibration."""
    if recipe.calibration_data is None:
        return 0.0
    factor = ASSUMED["awq_search_factor"] if recipe.quantisation == "w4a16_awq" else 1.0
    # All are padded to the longest.
    tokens = recipe.calibration_count * recipe.calibration_data.max_tokens
    return factor * tokens / ASSUMED["calibration_tokens_s"] / 60


def compiling(weights: int) -> float:
    """Minutes to compile an engine with this many bytes of weights."""
    return weights / ASSUMED["compile_bytes_s"] / 60


StageName = Literal["inspect", "merge", "prompts", "quantise", "compile", "bundle"]

_GIB: Final = 1 << 30
_MISLEADING: Final = ("mpt", "vila", "llava-onevision-qwen2", "scienceqa", "science_qa", "cnn_dailymail")
"""quantize.py takes a model or data set for another kind where its path holds one of these."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step; its output is there whole or not at all."""

    name: StageName
    what: str
    command: tuple[str, ...]
    """Empty: ``sluicegate engine build`` does it itself."""
    output: Path
    minutes: float
    """Estimated."""
    disk_bytes: int
    """Of the output; estimated."""

    def document(self) -> dict[str, Any]:
        """The stage as plain values."""
        return {
            "stage": self.name,
            "what": self.what,
            "command": list(self.command),
            "writes": str(self.output),
            "estimated_minutes": round(self.minutes, 1),
            "estimated_disk_bytes": self.disk_bytes,
        }


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things lie during a build."""

    work: Path
    out: Path

    @property
    def merged(self) -> Path:
        """Base and adapter in one, as a bundle."""
        return self.work / "merged"

    @property
    def prompts(self) -> Path:
        """Folder of a data set as quantize.py reads it."""
        return self.work / "texts"

    @property
    def quantised(self) -> Path:
        """Converted checkpoint."""
        return self.work / "quantised"

    @property
    def engine(self) -> Path:
        """Compiled engine."""
        return self.work / "engine"

    @property
    def versions(self) -> Path:
        """Versions of the libraries that build."""
        return self.work / "versions.json"


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A build, laid out."""

    recipe: BuildRecipe
    shape: ModelShape
    shape_from: str
    paths: Paths
    stages: tuple[Stage, ...]
    missing: tuple[str, ...]
    """What has to be there before it can run, and is not."""

    @property
    def checkpoint(self) -> Path:
        """What is quantised or served: merged, or the base itself."""
        return self.paths.merged / "checkpoint" if self.recipe.adapter else self.recipe.base.checkpoint

    @property
    def served(self) -> Path:
        """What the bundle takes along."""
        if self.recipe.route == "engine":
            return self.paths.engine
        return self.checkpoint if self.recipe.quantisation == "bf16" else self.paths.quantised

    @property
    def work_bytes(self) -> int:
        """Estimated, of the work folder."""
        return sum(stage.disk_bytes for stage in self.stages if stage.name != "bundle")

    @property
    def out_bytes(self) -> int:
        """Estimated, of the bundle."""
        return self.stages[-1].disk_bytes

    @property
    def cached_tokens(self) -> int:
        """Estimated, that the prefix cache holds beside the weights on this kind of GPU."""
        free = GPUS[self.recipe.gpu].memory_gib * _GIB - self.shape.weight_bytes(self.recipe.quantisation)
        return int(free * self.recipe.free_gpu_memory_fraction / self.shape.kv_bytes)

    def document(self) -> dict[str, Any]:
        """The plan as plain values."""
        kind = GPUS[self.recipe.gpu]
        return {
            "name": self.recipe.name,
            "recipe": self.recipe.digest,
            "route": self.recipe.route,
            "quantisation": self.recipe.quantisation,
            "gpu": kind.name,
            "compute_capability": kind.compute_capability,
            "tensorrt_llm": self.recipe.tensorrt_llm,
            "sizes_from": self.shape_from,
            "parameters": self.shape.parameters,
            "stages": [stage.document() for stage in self.stages],
            "estimated_minutes": round(sum(stage.minutes for stage in self.stages), 1),
            "estimated_disk_bytes": {"work": self.work_bytes, "out": self.out_bytes},
            "estimated_weight_bytes": self.shape.weight_bytes(self.recipe.quantisation),
            "estimated_cached_tokens": self.cached_tokens,
            "missing": list(self.missing),
        }


def lay_out(  # each is a fact of its own
    recipe: BuildRecipe,
    shape: ModelShape,
    shape_from: str,
    paths: Paths,
    *,
    host: commands.Host,
    missing: tuple[str, ...] = (),
) -> BuildPlan:
    """Lay out a build.

    Args:
        recipe: What is wanted.
        shape: Of the base.
        shape_from: Where the shape was read.
        paths: Where things will lie, absolute.
        host: Who runs the commands, on which GPU.
        missing: What was found missing.

    Raises:
        BuildError: The model does not fit the GPU or the recipe's limits, or a path misleads a tool.
    """
    _check_fit(recipe, shape)
    _check_paths(recipe, paths)
    plan = BuildPlan(recipe, shape, shape_from, paths, (), missing)
    stages = [_inspect(plan, host)]
    if recipe.adapter:
        stages.append(_merge(plan))
    if recipe.calibration_data:
        stages.append(_prompts(plan))
    if recipe.route == "engine" or recipe.quantisation != "bf16":
        stages.append(_quantise(plan, host))
    if recipe.route == "engine":
        stages.append(_compile(plan, host))
    stages.append(_bundle(plan))
    return BuildPlan(recipe, shape, shape_from, paths, tuple(stages), missing)


def _inspect(plan: BuildPlan, host: commands.Host) -> Stage:
    paths = plan.paths
    command = commands.contained(
        plan.recipe, commands.inspect(paths.versions), folders=[paths.work], host=host
    )
    return Stage("inspect", "versions of the libraries", command, paths.versions, starting(), 1 << 10)


def _merge(plan: BuildPlan) -> Stage:
    size = plan.shape.weight_bytes("bf16")
    return Stage(
        "merge",
        "adapter into base; needs the extra `adapt`",
        commands.merge(plan.recipe, plan.paths.merged),
        plan.paths.merged,
        copying(size, size),
        size,
    )


def _prompts(plan: BuildPlan) -> Stage:
    data = plan.recipe.calibration_data
    size = 0 if data is None else data.count * data.max_tokens * 5
    return Stage("prompts", "prompts of your own posts, to calibrate on", (), plan.paths.prompts, 0.1, size)


def _quantise(plan: BuildPlan, host: commands.Host) -> Stage:
    recipe, paths, shape = plan.recipe, plan.paths, plan.shape
    command = commands.quantise(recipe, plan.checkpoint, paths.prompts, paths.quantised)
    # Merged, the checkpoint lies in the work folder.
    base = [] if recipe.adapter else [recipe.base.checkpoint]
    size = shape.weight_bytes(recipe.quantisation)
    minutes = starting() + copying(shape.weight_bytes("bf16"), size) + calibrating(recipe)
    what = "conversion, nothing is quantised" if recipe.quantisation == "bf16" else "weights to fewer bits"
    return Stage(
        "quantise",
        what,
        commands.contained(recipe, command, folders=[paths.work, *base], host=host),
        paths.quantised,
        minutes,
        size,
    )


def _compile(plan: BuildPlan, host: commands.Host) -> Stage:
    paths = plan.paths
    command = commands.compile_engine(plan.recipe, paths.quantised, paths.engine)
    size = plan.shape.weight_bytes(plan.recipe.quantisation)
    return Stage(
        "compile",
        "engine for this kind of GPU alone",
        commands.contained(plan.recipe, command, folders=[paths.work], host=host),
        paths.engine,
        starting() + copying(size, size) + compiling(size),
        size,
    )


def _bundle(plan: BuildPlan) -> Stage:
    size = plan.shape.weight_bytes(plan.recipe.quantisation)
    # Copied, then read twice: to be hashed, and to be opened as a worker opens it.
    return Stage(
        "bundle",
        "checksums and manifest",
        (),
        plan.paths.out,
        copying(3 * size, size),
        size + (32 << 20),
    )


def _check_fit(recipe: BuildRecipe, shape: ModelShape) -> None:
    kind = GPUS[recipe.gpu]
    largest = shape.weight_bytes(recipe.quantisation)
    if recipe.quantisation != "bf16":
        largest = shape.weight_bytes("bf16")  # quantisation holds what it quantises
    if largest > kind.memory_gib * _GIB * 0.9:
        raise BuildError(
            f"gpu: {largest / _GIB:.1f} GiB of weights do not fit a {kind.name} of {kind.memory_gib} GiB; "
            "take a larger GPU or a smaller base"
        )
    if recipe.limits.max_seq_len > shape.positions:
        raise BuildError(
            f"limits.max_seq_len is {recipe.limits.max_seq_len}, the base was made for {shape.positions}; lower it"
        )


def _check_paths(recipe: BuildRecipe, paths: Paths) -> None:
    for path in (recipe.base.checkpoint, paths.work):
        # A comma would end a mount's path.
        for word in (",", *_MISLEADING):
            if word in str(path):
                raise BuildError(
                    f"{path}: its name holds {word!r}, which docker or quantize.py reads as something else; rename it"
                )


def text_of(plan: BuildPlan) -> str:
    """The plan's page."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: BuildPlan) -> Iterator[str]:
    recipe, kind = plan.recipe, GPUS[plan.recipe.gpu]
    yield (
        f"{recipe.name}: route {recipe.route}, {recipe.quantisation}, {kind.name} "
        f"({kind.architecture}, {kind.compute_capability}), TensorRT-LLM {recipe.tensorrt_llm}"
    )
    yield f"recipe {recipe.digest}"
    yield f"{plan.shape.parameters:,} parameters, from {plan.shape_from}"
    yield "Minutes, bytes and tokens are estimates: sizes are reckoned from the model's shape, rates are assumed."
    for number, stage in enumerate(plan.stages, 1):
        yield ""
        yield from _stage(number, stage)
    yield ""
    minutes = sum(stage.minutes for stage in plan.stages)
    yield f"all: about {minutes:.0f} min; disk about {_gb(plan.work_bytes)} in {plan.paths.work} and {_gb(plan.out_bytes)} in {plan.paths.out}"
    weights = plan.shape.weight_bytes(recipe.quantisation)
    yield (
        f"on the GPU: about {_gb(weights)} of weights; the prefix cache holds about {plan.cached_tokens:,} tokens "
        f"of {plan.shape.kv_bytes:,} bytes"
    )
    for what in plan.missing:
        yield f"missing: {what}"


def _stage(number: int, stage: Stage) -> Iterator[str]:
    yield f"{number}. {stage.name}: {stage.what}"
    yield f"   writes {stage.output}; about {_minutes(stage.minutes)}, {_gb(stage.disk_bytes)}"
    if not stage.command:
        yield "   done by `sluicegate engine build` itself"
        return
    lines = _broken(stage.command)
    yield from (f"   {line}" for line in " \\\n  ".join(lines).split("\n"))


def _broken(command: tuple[str, ...]) -> list[str]:
    """A command line for a shell: one option to a line, those of the container together."""
    lines: list[list[str]] = [[]]
    inner = command.index(IMAGE) + 1 if IMAGE in command else 0
    for at, word in enumerate(command):
        if (
            word == "--mount"
            or (inner and at in {inner - 1, inner})
            or (at > inner and word.startswith("--"))
        ):
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return [" ".join(line) for line in lines]


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes >= 1 else "a minute"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{max(0.1, size / 1e6):.1f} MB"
