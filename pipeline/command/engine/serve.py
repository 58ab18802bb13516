"""``sluicegate engine serve-config``: a bundle behind a server of its own."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer
import yaml

from sluicegate.engines.backends.trtllm.serve import ServerPlan
from sluicegate.pipeline.command.options import AsJson


class Server(StrEnum):
    """Servers that a bundle can be served by."""

    TRTLLM_SERVE = "trtllm-serve"
    VLLM = "vllm"
    SGLANG = "sglang"


def serve_config(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle made for TensorRT-LLM.")],
    server: Annotated[Server, typer.Option("--for", help="The server.")] = Server.TRTLLM_SERVE,
    out: Annotated[
        Path,
        typer.Option(help="Folder for the server's configuration file; the server must see it there, too."),
    ] = Path(),
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Where the server listens, on this host.")
    ] = 8000,
    as_json: AsJson = False,
) -> None:
    """Write what a server needs to serve a bundle, and print its command and the worker's settings.

    Starts nothing. Bundle and configuration must lie at the same paths for the server and for the worker.

    Example: sluicegate engine serve-config /bundles/guard --for trtllm-serve --out /etc/trtllm
    """
    from sluicegate.engines.backends.trtllm.serve import plan_server  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.bundle import Bundle  # noqa: PLC0415 - the same

    # The worker hashes the weights at its start; here they are only named.
    bundle = Bundle.open(path.resolve(), verify=False)
    plan = plan_server(bundle, server.value, port=port, config=out.resolve())
    for name, content in plan.files.items():
        out.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8")
    if as_json:
        document = {
            "command": plan.command,
            "files": {str(out.resolve() / name): content for name, content in plan.files.items()},
            "settings": {"engine": plan.settings},
            "notes": plan.notes,
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
    typer.echo("# What it does not give:")
    for note in plan.notes:
        typer.echo(f"# - {note}")
