"""``sluicegate engine build`` and ``serve-config``: make a bundle, and plan its server."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer
import yaml

from sluicegate.engines.backends.trtllm.serving import ServerPlan
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


class ServerChoice(StrEnum):
    """Servers that a bundle can be served by."""

    TRTLLM_SERVE = "trtllm-serve"
    VLLM = "vllm"
    SGLANG = "sglang"


def serve_config(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle made for TensorRT-LLM.")],
    server: Annotated[ServerChoice, typer.Option("--for", help="The server.")] = ServerChoice.TRTLLM_SERVE,
    out: Annotated[
        Path,
        typer.Option(help="Folder for the server's configuration file; the server must see it there, too."),
    ] = Path(),
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Where the server listens, on this host.")
    ] = 8000,
    version: Annotated[
        str | None,
        typer.Option(help="Release of the server. Default for trtllm-serve: that of the bundle."),
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="The server is to have metrics of its own for Prometheus.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write what a server needs to serve a bundle, and print its command and the worker's settings.

    Starts nothing. Bundle and configuration must lie at the same paths for the server and for the worker.

    Example: sluicegate engine serve-config /bundles/guard --for trtllm-serve --out /etc/trtllm
    """
    from sluicegate.engines.backends.trtllm.serving import plan_server  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.bundle import Bundle  # noqa: PLC0415 - the same

    # The worker hashes the weights at its start; here they are only named.
    bundle = Bundle.open(path.resolve(), verify=False)
    plan = plan_server(
        bundle, server.value, port=port, config=out.resolve(), version=version, metrics=metrics
    )
    for name, content in plan.files.items():
        out.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8")
    if as_json:
        document = {
            "command": plan.command,
            "files": {str(out.resolve() / name): content for name, content in plan.files.items()},
            "settings": {"engine": plan.settings},
            "notes": plan.notes,
            "metrics": plan.metrics and f"{plan.settings['url']}{plan.metrics}",
        }
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    _show(plan, out)


def _show(plan: ServerPlan, out: Path) -> None:
    for name in plan.files:
        typer.echo(f"# written: {out.resolve() / name}\n")
    typer.echo(f"# 1. Start the server; docs/engine.md says how to watch it.\n{shlex.join(plan.command)}\n")
    typer.echo("# 2. Settings of the worker, which waits until the server answers.")
    typer.echo(yaml.safe_dump({"engine": plan.settings}, sort_keys=False))
    if plan.metrics:
        typer.echo(f"# Its metrics: {plan.settings['url']}{plan.metrics}\n")
    typer.echo("# What it does not give:")
    for note in plan.notes:
        typer.echo(f"# - {note}")
