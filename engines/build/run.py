"""The door: plan a build, carry it out, and go on where it was stopped.

A stage runs if what went into it differs from what is recorded of it; then all after it run, too.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.backends.gpu import GPUS, Gpu, first_visible, probe_gpus, wished_device
from sluicegate.engines.backends.trtllm.serving import VERSION
from sluicegate.engines.build.commands import Host, Runner, known_fault, run_command
from sluicegate.engines.build.gather import GatheredBundle, gather
from sluicegate.engines.build.inputs import FILE, Checked, State, alone, check_base, digest_of, write_texts
from sluicegate.engines.build.plan import BuildPlan, Paths, Stage, lay_out
from sluicegate.engines.build.recipe import BuildRecipe
from sluicegate.engines.build.shape import QWEN3GUARD_8B, ModelShape
from sluicegate.engines.bundle import Bundle, file_digest
from sluicegate.engines.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


_VERSIONS_BYTES = 4096
_MARGIN = 1.1  # of the disk: estimates are no more than that


def plan_build(recipe: BuildRecipe, work: Path, out: Path) -> BuildPlan:
    """Plan a build. Reads the base's ``config.json`` where it is there, and runs nothing.

    Args:
        recipe: What is wanted.
        work: Folder for what lies between.
        out: Folder of the bundle.

    Raises:
        BuildError: It cannot be built like that, and the fix.
    """
    checkpoint = recipe.base.checkpoint
    there = (checkpoint / "config.json").is_file()
    shape = ModelShape.read(checkpoint) if there else QWEN3GUARD_8B
    origin = str(checkpoint / "config.json") if there else "Qwen3Guard-Gen-8B, since the base is not here"
    return lay_out(
        recipe,
        shape,
        origin,
        Paths(work.absolute(), out.absolute()),
        host=Host(f"{os.getuid()}:{os.getgid()}", wished_device()),
        missing=_missing(recipe),
    )


def _missing(recipe: BuildRecipe) -> tuple[str, ...]:
    adapter, data = recipe.adapter, recipe.calibration_data
    wanted: list[tuple[str, Path | None]] = [("base.checkpoint", recipe.base.checkpoint)]
    if adapter:
        wanted += [
            ("adapter.folder", adapter.folder),
            ("adapter.gate", adapter.gate),
            ("adapter.evaluation", adapter.evaluation),
            ("adapter.calibration", adapter.calibration),
        ]
    if data:
        wanted.append(("calibration_data.posts", data.posts))
    return tuple(f"{field}: {path}" for field, path in wanted if path and not path.exists())


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a build takes place."""

    plan: BuildPlan
    checked: Checked
    gpu: Gpu
    state: State
    report: Callable[[str], None]
    runner: Runner


def build(
    plan: BuildPlan,
    report: Callable[[str], None],
    *,
    runner: Runner = run_command,
    probe: Callable[[], Sequence[Gpu]] = probe_gpus,
) -> Bundle:
    """Carry a plan out. Blocking: the better part of an hour for an 8B model. Ctrl-C ends its command, too.

    Args:
        plan: Of :func:`plan_build`.
        report: Called with one line for each step; holds nothing of a post.
        runner: Runs the commands.
        probe: Gives the machine's GPUs.

    Returns:
        The bundle, opened.

    Raises:
        EngineError: Which field, file or stage stopped it, and the fix.
    """
    if plan.missing:
        raise BuildError(f"{plan.missing[0]} is not there; put it there, or correct the recipe")
    gpu = _check_machine(plan, probe)
    checked = check_base(plan.recipe)
    with alone(plan.paths.work):
        site = _Site(plan, checked, gpu, State(plan.paths.work), report, runner)
        _check_room(site)
        key = checked.inputs
        for number, stage in enumerate(plan.stages, 1):
            key = digest_of(stage.name, stage.command, key, *_bound_to(stage, plan.recipe, gpu))
            _run_stage(site, number, stage, key)
            if stage.name == "inspect":
                key = digest_of(key, _versions(site))
    return Bundle.open(plan.paths.out, verify=False)


def _check_machine(plan: BuildPlan, probe: Callable[[], Sequence[Gpu]]) -> Gpu:
    kind = GPUS[plan.recipe.gpu]
    gpu = first_visible(probe())
    if not kind.is_this(gpu):
        raise BuildError(
            f"gpu: the recipe is for a {kind.name} ({kind.compute_capability}), this GPU is {gpu.name} "
            f"({gpu.compute_capability}); build on that kind of GPU, or change the recipe"
        )
    return gpu


def _check_room(site: _Site) -> None:
    """Before anything runs; what an interrupted build left counts as room, since it is removed or used."""
    paths = site.plan.paths
    paths.out.parent.mkdir(parents=True, exist_ok=True)
    used = sum(file.stat().st_size for file in paths.work.rglob("*") if file.is_file())
    same_disk = paths.work.stat().st_dev == paths.out.parent.stat().st_dev
    needed_in_work = site.plan.work_bytes * _MARGIN - used + (site.plan.out_bytes if same_disk else 0)
    for option, folder, needed in (
        ("--work", paths.work, needed_in_work),
        ("--out", paths.out.parent, site.plan.out_bytes * _MARGIN),
    ):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise BuildError(
                f"{option}: {folder} has {free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB are needed; "
                f"make room, or give another {option}"
            )


def _bound_to(stage: Stage, recipe: BuildRecipe, gpu: Gpu) -> tuple[str, ...]:
    """What decides a stage's output beside its command and the stages before."""
    match stage.name:
        case "prompts" if recipe.calibration_data:
            data = recipe.calibration_data
            return (file_digest(data.posts), str(data.count), str(data.max_tokens))
        case "compile":
            return (gpu.name, gpu.compute_capability, gpu.driver)
        case "bundle":
            return (recipe.digest,)
        case _:
            return ()


def _run_stage(site: _Site, number: int, stage: Stage, key: str) -> None:
    head = f"[{number}/{len(site.plan.stages)}] {stage.name}"
    # Without a container the tools here are inspected each time: they may be others than before.
    settled = site.plan.recipe.container or stage.name != "inspect"
    if settled and site.state.is_done(stage.name, key) and stage.output.exists():
        site.report(f"{head}: done before")
        return
    site.report(f"{head}: {stage.what}; about {max(1, round(stage.minutes))} min (estimated)")
    site.state.forget(stage.name)
    _remove(stage)
    match stage.name:
        case "prompts":
            _write_prompts(site)
        case "bundle":
            gather(site.plan, site.checked.parts, _made(site))
        case _:
            _run_command(site, stage, head)
    if not stage.output.exists():
        raise BuildError(
            f"{stage.name}: ended well, but {stage.output} is not there; read {_log(site, stage)}"
        )
    if stage.name == "inspect":
        _versions(site)
    site.state.record(stage.name, key)


def _remove(stage: Stage) -> None:
    """What a stage that did not end left behind; never a bundle, which may be in use."""
    output = stage.output
    if stage.name == "bundle":
        if output.exists() and not (output.is_dir() and not any(output.iterdir())):
            raise BuildError(f"{output} is there and not an empty folder; choose another --out")
    elif output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)


def _write_prompts(site: _Site) -> None:
    data = site.plan.recipe.calibration_data
    if data is None:
        return
    control = site.checked.parts.manifest.tokenizer.control_tokens
    wanted = data.count
    count = write_texts(data, wanted, site.checked.opened, control, site.plan.paths.prompts)
    if count < wanted:
        site.report(f"the posts give {count} prompts of {wanted}")


def _run_command(site: _Site, stage: Stage, head: str) -> None:
    log = _log(site, stage)
    code = site.runner(stage.command, log, partial(_still, site, head))
    if code != 0:
        meaning = known_fault(log)
        raise BuildError(
            f"{stage.name}: exit code {code}; {meaning or f'its output is in {log}'}; "
            "then build again, which goes on from here"
        )


def _still(site: _Site, head: str, minutes: int) -> None:
    site.report(f"{head}: {minutes} min so far")


def _log(site: _Site, stage: Stage) -> Path:
    return site.plan.paths.work / f"{stage.name}.log"


def _versions(site: _Site) -> dict[str, str]:
    path = site.plan.paths.versions
    try:
        with path.open("rb") as stream:
            found = orjson.loads(stream.read(_VERSIONS_BYTES))
        versions = {name: str(found[name])[:40] for name in ("tensorrt", "tensorrt_llm")}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BuildError(
            f"{path} is not as the stage writes it; remove the work folder and build again"
        ) from error
    if versions["tensorrt_llm"] != VERSION:
        raise BuildError(
            f"inspect: tensorrt_llm is {versions['tensorrt_llm']}, the recipe is for {VERSION}; use its container"
        )
    return versions


def _made(site: _Site) -> GatheredBundle:
    has_texts = site.plan.recipe.calibration_data is not None
    texts = file_digest(site.plan.paths.prompts / FILE) if has_texts else None
    return GatheredBundle(site.gpu, **_versions(site), calibration_data=texts)
