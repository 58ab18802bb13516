"""The report of a calibration as a Markdown page, and its reliability diagram. No row, and no text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.calibrate.fitting import INHERITED
from sluicegate.engines.adapt.calibrate.grouping import RAW
from sluicegate.engines.adapt.evaluate.report import SAID as MEASURES_SAID
from sluicegate.engines.adapt.evaluate.report import shown
from sluicegate.engines.adapt.report import draw_picture, plain, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
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


SAID: Final = {
    RAW: "none: scores stay as they are",
    INHERITED: "its kind's",
    "temperature": "temperature",
    "isotonic": "isotonic",
}
"""Methods for people."""

_SHOWN_GROUPS = 60  # of one table; --json has all
_NONE = "–"


def page(document: Mapping[str, Any], picture: str) -> str:
    """The page.

    Args:
        document: What :func:`~sluicegate.engines.adapt.calibrate.calibrate.calibrate` reports.
        picture: File name of the reliability diagram.
    """
    groups = document["groups"][:_SHOWN_GROUPS]
    more = len(document["groups"]) - len(groups)
    engine = document["judged"]["engine"]
    parts = [
        "# Calibration",
        (
            f"{document['rows']:,} rows, {document['failed']:,} more failed; model {plain(engine['model'])}, adapter "
            f"{plain(str(engine['adapter']))}. “Held out” is what a calibration that was made in the same way without "
            f"a fifth of the rows does to that fifth, each fifth in turn ({document['folds']} folds)."
        ),
        "## Before and after",
        table(
            ("measure", "before", "held out"),
            (
                (
                    MEASURES_SAID[name][0],
                    shown(document["before"].get(name)),
                    shown(document["held_out"].get(name)),
                )
                for name in document["before"]
            ),
        ),
        f"![Reliability]({picture})",
        "## Groups",
        (
            "A kind, or a language of it, has a method of its own where that surely lowers the log loss of rows it was "
            "not fitted on. What no group holds gets the method of all rows."
        ),
        _groups(document, groups),
        f"And {more:,} more: --json has all." if more > 0 else "",
        "## Thresholds",
        (
            "For `block_at` and `review_at` of a policy. A false positive is a row that reaches the threshold and whose "
            "label is below the measure's: safe for `risk`, safe or controversial for `unsafe`. “–” where the rows are too "
            "few to tell."
        ),
        _thresholds(document, groups),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def group_name(group: Mapping[str, Any]) -> str:
    """A group for people."""
    return ", ".join([group["kind"], *group["languages"]])


def method_said(one: Mapping[str, Any]) -> str:
    """A method for people, with its number where it has one of its own."""
    if one["method"] == INHERITED and not one["languages"]:
        return "that of all rows"
    said = SAID[one["method"]]
    return f"{said} {one['temperature']:g}" if one["method"] == "temperature" else said


def _groups(document: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    values = [
        _number(document[when][name]["value"])
        for name in ("ece", "log_loss")
        for when in ("before", "held_out")
    ]
    first = ("all rows", document["rows"], method_said(document["fallback"]), *values)
    lines: Iterable[Sequence[object]] = [
        first,
        *(
            (
                group_name(one),
                one["rows"],
                method_said(one),
                *(
                    _number(one[when].get(name))
                    for name in ("ece", "log_loss")
                    for when in ("before", "held_out")
                ),
            )
            for one in groups
        ),
    ]
    head = ("group", "rows", "method", "ECE before", "held out", "log loss before", "held out")
    return table(head, lines)


def _thresholds(document: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        line
        for name, thresholds in (
            ("all rows", document["thresholds"]),
            *((group_name(one), one["thresholds"]) for one in groups),
        )
        for line in _lines(name, thresholds)
    ]
    head = (
        "rows of",
        "threshold",
        "value",
        "false positives",
        "recall",
        "held out: false positives",
        "recall",
    )
    return table(head, lines)


def _lines(group: str, thresholds: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for name, one in thresholds.items():
        if one is None:
            yield group, name, *[_NONE] * 5
            continue
        held = one["held_out"] or {}
        yield (
            group,
            name,
            f"{one['value']:.6f}",
            *(
                _number(where.get(what))
                for where in (one, held)
                for what in ("false_positive_rate", "recall")
            ),
        )


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"
