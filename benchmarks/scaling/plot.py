"""The plot: one simulated day, and every way by what it costs and how long posts wait. Imports matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scaling.compare import LOAD_S
from scaling.day import STEP_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scaling.day import Day, World

_DPI = 90


def draw(
    path: Path, document: Mapping[str, Any], posts: Sequence[float], drawn: Mapping[str, Day], world: World
) -> None:
    """Draw all three panels; equal documents have equal files."""
    figure = Figure(figsize=(13, 6.2), layout="constrained", dpi=_DPI)
    grid = figure.add_gridspec(2, 2, width_ratios=(3, 2))
    above = figure.add_subplot(grid[0, 0])
    _workers(above, posts, drawn, world)
    _ages(figure.add_subplot(grid[1, 0], sharex=above), drawn)
    _costs(figure.add_subplot(grid[:, 1]), document)
    figure.suptitle(
        f"Simulated, not measured: {world.partitions} partitions, an engine that loads in {LOAD_S[1]:g} s"
    )
    with path.open("wb") as stream:
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})


def _hours(count: int) -> list[float]:
    return [number * STEP_S / 3600 for number in range(count)]


def _workers(axes: Any, posts: Sequence[float], drawn: Mapping[str, Day], world: World) -> None:
    needed = [one / STEP_S / world.posts_per_s for one in posts]
    axes.fill_between(_hours(len(needed)), needed, color="0.85", label="posts, in workers' worth")
    for name, day in drawn.items():
        axes.plot(_hours(len(day.pods)), day.pods, linewidth=1.2, label=name)
    axes.set(ylabel="workers", xlim=(0, 24))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", fontsize="small")


def _ages(axes: Any, drawn: Mapping[str, Day]) -> None:
    for name, day in drawn.items():
        axes.plot(_hours(len(day.oldest_s)), [max(1.0, age) for age in day.oldest_s], linewidth=1, label=name)
    axes.set(xlabel="hour of the day", ylabel="oldest waiting post, s", yscale="log", xticks=range(0, 25, 3))
    axes.grid(alpha=0.3)


def _costs(axes: Any, document: Mapping[str, Any]) -> None:
    tried = document["search"]
    axes.scatter(
        [one[mode]["gpu_hours"] for one in tried for mode in ("prometheus", "alone")],
        [max(1.0, one[mode]["p99_s"]) for one in tried for mode in ("prometheus", "alone")],
        color="0.75",
        s=18,
        label="tried in the search",
    )
    shown = [one for one in document["ways"] if one["load_s"] in (None, LOAD_S[1])]
    for number, one in enumerate(shown):
        axes.scatter(
            one["gpu_hours"]["median"],
            max(1.0, one["p99_s"]["median"]),
            s=140 - 15 * number,  # the later ones lie on the earlier
            label=_said(one),
            zorder=3,
        )
    axes.set(
        xlabel="GPU hours a day",
        ylabel="oldest waiting post, p99, s (1 and less drawn as 1)",
        xscale="log",
        yscale="log",
    )
    axes.set_xticks([50, 100, 200, 400], ["50", "100", "200", "400"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize="small")


def _said(one: Mapping[str, Any]) -> str:
    return f"{one['name']} ({one['rebalances']['median']:.0f} rebalances)"
