"""Plots of an evaluation: reliability diagram, ROC, bars by language. Loads matplotlib when it draws."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.picture import draw_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLOTS: Final = {
    "reliability.png": "Reliability: how often what was found is right, by its probability",
    "roc.png": "ROC: recall against the share of false positives",
    "languages.png": "By language, with 95 % intervals",
}
"""Files and what they show."""

_SHOWN_LANGUAGES = 24
_BARS = {"macro_f1": "macro-F1", "auroc_safe": "AUROC safe vs rest"}


def draw(document: Mapping[str, Any], folder: Path) -> None:
    """Draw all plots of an evaluation into a folder; each replaces an earlier one in one move.

    Raises:
        OSError: The folder cannot be written to.
        ImportError: matplotlib is missing.
    """
    for name, drawn in zip(PLOTS, (_reliability, _roc, _languages), strict=True):
        draw_picture(folder / name, partial(drawn, document=document))


def _reliability(axes: Any, document: Mapping[str, Any]) -> None:
    found = document["reliability"]
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated")
    axes.plot(
        [one["confidence"] for one in found], [one["right"] for one in found], marker="o", label="found"
    )
    axes.set(xlabel="probability of the severity found", ylabel="share found right", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def _roc(axes: Any, document: Mapping[str, Any]) -> None:
    for name, said in (("safe", "not safe against safe"), ("unsafe", "unsafe against all others")):
        points = document["roc"][name]
        value = document["measures"].get(f"auroc_{name}", {}).get("value")
        if points and value is not None:
            axes.plot([x for x, _ in points], [y for _, y in points], label=f"{said}: {value:.3f}")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="chance")
    axes.set(xlabel="share of false positives", ylabel="recall", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _languages(axes: Any, document: Mapping[str, Any]) -> None:
    groups = list(document["by"]["language"].items())[:_SHOWN_LANGUAGES]
    height = 0.8 / len(_BARS)
    for number, (measure, said) in enumerate(_BARS.items()):
        there = [
            (place, one["measures"][measure])
            for place, (_, one) in enumerate(groups)
            if measure in one["measures"]
        ]
        values = [one["value"] for _, one in there]
        sides = [
            [
                max(0.0, one["value"] - (one["value"] if one["low"] is None else one["low"]))
                for _, one in there
            ],
            [
                max(0.0, (one["value"] if one["high"] is None else one["high"]) - one["value"])
                for _, one in there
            ],
        ]
        places = [place + number * height for place, _ in there]
        axes.barh(places, values, height=height, xerr=sides, label=said, error_kw={"linewidth": 1})
    axes.set_yticks([place + height / 2 for place in range(len(groups))])
    # A tag holds letters, digits and dashes alone: nothing that matplotlib could take for mathematics.
    axes.set_yticklabels([f"{name} ({one['rows']:,})" for name, one in groups])
    axes.set(xlim=(0, 1))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2)
