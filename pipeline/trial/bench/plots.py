"""Plots of a report: throughput against latency, and where the time went. Loads matplotlib when it draws."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.report import draw_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLOTS: Final = {
    "bench-latency.png": "Latency of the posts of each interval against how many came in it",
    "bench-stages.png": "Where the time of a post goes, in the mean",
}
"""Files and what they show."""


def draw(whole: Mapping[str, Any], folder: Path) -> None:
    """Draw all plots of a document into a folder; each replaces an earlier one in one move.

    Raises:
        OSError: The folder cannot be written to.
        ImportError: matplotlib is missing.
    """
    for name, drawn in zip(PLOTS, (_latency, _stages), strict=True):
        draw_picture(folder / name, partial(drawn, whole=whole), inches=(6.5, 4.5))


def _latency(axes: Any, whole: Mapping[str, Any]) -> None:
    answered = False
    for number, one in enumerate(whole["systems"]):
        for percentile, marker in (("p50_ms", "."), ("p99_ms", "x")):
            points = [
                (interval["offered_per_s"], interval[percentile])
                for interval in one["intervals"]
                if interval[percentile]
            ]
            answered |= bool(points)
            axes.scatter(
                [x for x, _ in points],
                [y for _, y in points],
                marker=marker,
                color=f"C{number}",
                label=f"{_plain(one['name'])}, {percentile.removesuffix('_ms')}",
            )
    axes.set(xlabel="posts a second that came", ylabel="milliseconds to the verdict")
    if answered:  # else there is nothing to scale
        axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _stages(axes: Any, whole: Mapping[str, Any]) -> None:
    systems = whole["systems"]
    left = [0.0] * len(systems)
    for stage in dict.fromkeys(name for one in systems for name in one["stages"]):
        widths = [one["stages"].get(stage, {}).get("mean_ms") or 0.0 for one in systems]
        axes.barh(range(len(systems)), widths, left=left, height=0.5, label=_plain(stage))
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(systems)))
    axes.set_yticklabels([_plain(one["name"]) for one in systems])
    axes.set(xlabel="milliseconds, in the mean")
    axes.set_ylim(len(systems), -1)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=6)


def _plain(name: str) -> str:
    """A name as a label: no dollar sign that matplotlib would take for mathematics."""
    return name.replace("$", r"\$")
