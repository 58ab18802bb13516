"""A plan as people read it: commands to copy, and figures that say that they are estimates."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from sluicegate.engines.build.commands import IMAGE
from sluicegate.engines.build.gpu_kinds import GPUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluicegate.engines.build.plan import Plan, Stage


def text_of(plan: Plan) -> str:
    """The plan's page."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
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
