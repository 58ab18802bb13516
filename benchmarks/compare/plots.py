"""Plots of a comparison. Loads matplotlib when it draws."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from compare.figures import over
from compare.plan import FAUST, GENERATE, ONE, OURS, SKEWED, STAGES, THREE, TWO
from sluicegate.engines.adapt.report import draw_picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from compare.figures import Done

PLOTS: Final = {
    "compare-rates.png": "Posts a second of each system at saturation: above the imitated H100, below the CPU model",
    "compare-engine.png": "Engine seconds per post: above the imitated H100, below the CPU model",
    "compare-scale.png": "Posts a second of one, two and three workers",
}
"""Files and what they show."""

_STAGES = {"h100": "H100 imitated (simulated)", "cpu": "CPU model"}


def draw(stages: Mapping[str, Done], folder: Path) -> dict[str, str]:
    """Draw what there are figures for; the files and what they show.

    Raises:
        OSError: The folder cannot be written to.
        ImportError: matplotlib is missing.
    """
    drawn: dict[str, str] = {}
    for name, figure, systems in (
        ("compare-rates.png", "posts_per_s", None),
        ("compare-engine.png", "wall_s_per_post", (OURS, FAUST, GENERATE)),
    ):
        if all(stage in stages for stage in _STAGES):
            points = partial(_points, stages=stages, figure=figure, systems=systems)
            draw_picture(folder / name, points, inches=(7, 5), rows=2)
            drawn[name] = PLOTS[name]
    if "scale" in stages:
        draw_picture(folder / "compare-scale.png", partial(_scale, done=stages["scale"]), inches=(6.5, 4))
        drawn["compare-scale.png"] = PLOTS["compare-scale.png"]
    return drawn


def _points(rows: Any, stages: Mapping[str, Done], figure: str, systems: Sequence[str] | None) -> None:
    for axes, (stage, said) in zip(rows, _STAGES.items(), strict=True):
        done = stages[stage]
        named = [one for one in systems or STAGES[stage] if over(done, one, figure)]
        found = [(one, spread) for one in named if (spread := over(done, one, figure))]
        # Points, since the length of a bar says nothing on a logarithmic scale.
        axes.errorbar(
            [one.median for _, one in found],
            range(len(found)),
            xerr=[
                [one.median - one.low for _, one in found],
                [one.high - one.median for _, one in found],
            ],
            fmt="o",
            capsize=4,
        )
        axes.set_yticks(range(len(found)), [name for name, _ in found])
        axes.invert_yaxis()
        axes.set(title=said, xscale="log")
        axes.grid(axis="x", alpha=0.3)
    rows[-1].set(xlabel="posts a second" if figure == "posts_per_s" else "engine seconds per post")


def _scale(axes: Any, done: Done) -> None:
    one = over(done, ONE, "posts_per_s")
    for place, name in enumerate((ONE, TWO, THREE, SKEWED), 1):
        if found := over(done, name, "posts_per_s"):
            spread = [[found.median - found.low], [found.high - found.median]]
            axes.errorbar(place, found.median, yerr=spread, fmt="o", capsize=4, color="C0")
    if one is not None:
        axes.plot(
            [1, 2, 3],
            [one.median * count for count in (1, 2, 3)],
            "--",
            color="0.6",
            label="as many times one",
        )
        axes.legend()
    axes.set_xticks([1, 2, 3, 4], ["one", "two", "three", "three,\nhot key"])
    axes.set(ylabel="posts a second")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
