"""``sluicegate engine size``: how many GPUs a stream needs."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sluicegate.engines.build.sizing import Figure, Fleet
from sluicegate.pipeline.command.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    ] = 0.15,
    in_text: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of the explanations that are a text, and no category alone: 1 with `explain_text: always` in the "
            "policy, or where the bundle gives reasons and the policy does not say `needed`. Assumed.",
        ),
    ] = 0.0,
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
        in_text=in_text,
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
