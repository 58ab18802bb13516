"""The reliability diagram before and after. Loads matplotlib when it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.picture import draw_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LINES: Final = {"before": "before", "held_out": "calibrated, held out"}


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Draw the picture of a report; it replaces an earlier one in one move.

    Raises:
        OSError: The file cannot be written.
        ImportError: matplotlib is missing.
    """
    draw_picture(path, lambda axes: _draw(axes, document))


def _draw(axes: Any, document: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated as can be")
    for name, said in _LINES.items():
        found = document["reliability"][name]
        error = document[name]["ece"]["value"]
        axes.plot(
            [one["confidence"] for one in found],
            [one["right"] for one in found],
            marker="o",
            label=f"{said}: ECE {error:.3f}",
        )
    axes.set(xlabel="probability of the severity found", ylabel="share found right", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
