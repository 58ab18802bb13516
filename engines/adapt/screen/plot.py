"""The picture of a screen's report. Loads matplotlib when it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.picture import draw_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOST_LINES: Final = 8


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Draw the picture of a report; it replaces an earlier one in one move.

    Raises:
        OSError: The file cannot be written.
        ImportError: matplotlib is missing.
    """
    draw_picture(path, lambda axes: _draw(axes, document), inches=(6.5, 6.5), rows=2)


def _draw(axes: Any, document: Mapping[str, Any]) -> None:
    above, below = axes
    dev = document["dev"]
    groups = [one for one in dev["groups"] if any(point["answered"] for point in one["safe"])]
    for one in [{**dev["all"], "name": "all rows"}, *groups[:_MOST_LINES]]:
        name = one.get("name") or f"{one['kind']}, {one['language']}"
        points = [point for point in one["safe"] if point["answered"]]
        tolerances = [point["tolerance"] for point in points]
        line = above.plot(
            [point["tolerance"] for point in one["safe"]],
            [100 * point.get("share_answered", 0) for point in one["safe"]],
            marker="o",
            label=f"{name}: {one['rows']:,} rows",
        )[0]
        below.plot(
            tolerances, [100 * point["share_wrong"] for point in points], marker="o", color=line.get_color()
        )
    tolerances = [point["tolerance"] for point in dev["all"]["safe"]]
    below.plot(tolerances, [100 * one for one in tolerances], color="0.7", label="the tolerance itself")
    above.set(xscale="log", ylabel="answered safe, % of dev rows")
    below.set(xlabel="tolerance", ylabel="wrong of these, %")
    for one in axes:
        one.grid(alpha=0.3)
        one.legend(loc="upper left")
