"""``sluicegate engine build``: from a recipe to a bundle for TensorRT-LLM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson


def build(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="What to build: docs/engine.md.")],
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder for what lies between; kept, so that a build can go on. Default: NAME.build."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle. Default: NAME.")] = None,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Print commands, sizes and times; run nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge, quantise, compile, and gather the bundle. A build that was stopped goes on with the same command.

    Example: sluicegate engine build recipe.yaml --plan
    """
    from sluicegate.engines.build import run  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.build.plan import text_of  # noqa: PLC0415 - few need it
    from sluicegate.engines.build.recipe import BuildRecipe  # noqa: PLC0415 - the same

    wanted = BuildRecipe.load(recipe)
    plan = run.plan_build(wanted, work or Path(f"{wanted.name}.build"), out or Path(wanted.name))
    if only_plan:
        if as_json:
            typer.echo(orjson.dumps(plan.document(), option=orjson.OPT_INDENT_2).decode())
        else:
            typer.echo(text_of(plan), nl=False)
        return
    bundle = run.build(plan, lambda line: typer.echo(line, err=as_json))
    if as_json:
        typer.echo(orjson.dumps({"path": str(bundle.path), "digest": bundle.digest}).decode())
    else:
        typer.echo(f"written: {bundle.path}; digest {bundle.digest}")
