"""The report of a screen: a document, a Markdown page of it and a picture. No row, and no text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.report import draw_picture, plain, table
from sluicegate.engines.adapt.screen.making import MadeScreen, ScreenTerms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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


SCHEMA: Final = "1.0"
_NONE = "–"


def document(
    made: MadeScreen,
    terms: ScreenTerms,
    dev: Mapping[str, Any],
    unseen: Sequence[Mapping[str, Any]],
    command: Sequence[str],
) -> dict[str, Any]:
    """What is reported, as JSON has it.

    Args:
        made: The screen.
        terms: How it was made.
        dev: Of :func:`~sluicegate.engines.adapt.screen.making.measured`.
        unseen: Of :func:`~sluicegate.engines.adapt.screen.making.unseen`.
        command: The command line.
    """
    manifest = made.manifest
    return {
        "schema_version": SCHEMA,
        "command": " ".join(command),
        "name": manifest.name,
        "digest": manifest.digest,
        "bytes": len(made.weights) + len(manifest.content()),
        "data": manifest.data,
        "rows": manifest.rows,
        "left_out": made.left_out,
        "folds": terms.folds,
        "seed": terms.seed,
        "most_features": terms.features,
        "sources": {name: one.model_dump() for name, one in manifest.sources.items()},
        "calibrated": [
            {
                "kind": one.key[0],
                "language": one.key[1],
                "rows": one.rows,
                "one_sided_sources": list(one.one_sided),
                **(
                    one.group.model_dump(mode="json", exclude={"kind", "language", "rows"})
                    | {"measured_on": one.group.rows}
                    if one.group
                    else {"why_not": one.why_not}
                ),
            }
            for one in made.groups
        ],
        "dev": dict(dev),
        "unseen": list(unseen),
    }


def page(found: Mapping[str, Any], picture: str) -> str:
    """The page.

    Args:
        found: Of :func:`document`.
        picture: File name of the plot.
    """
    parts = [
        "# Screen, measured against labels",
        f"Made by `{found['command']}`.",
        (
            f"{plain(found['name'])}, `{found['digest']}`, {found['bytes']:,} bytes, learnt from {found['rows']:,} rows. "
            "An answer is given where the error at its score, the 95 % upper bound (Clopper-Pearson, for each step by "
            "itself) of the share wrong among held-out rows of that kind and language, is within the tolerance. Wrong is "
            "what has another label; labels of one row differ from person to person as well."
        ),
        f"![Share answered and share wrong over the tolerance]({picture})",
        "## Where it is calibrated",
        (
            f"On rows held out in turn ({found['folds']} folds). Least error: what the surest answers reach. Sources whose rows "
            "are nearly all safe, or nearly all not, take no part: their style gives the label away."
        ),
        table(
            (
                "kind, language",
                "rows",
                "measured on",
                "least error: safe",
                "unsafe",
                "longest text",
                "why not",
                "one-sided sources",
            ),
            map(_calibrated, found["calibrated"]),
        ),
        "## Rows of dev, answered safe",
        (
            "Rows that no part of it has seen, of the same sources. Added error: wrong answers among all rows of the line, "
            "answered or not."
        ),
        *_answered(found["dev"], "safe"),
        "## Rows of dev, answered unsafe",
        *_answered(found["dev"], "unsafe"),
        *_unseen(found["unseen"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_HEAD: Final = (
    "kind, language",
    "rows",
    "tolerance",
    "answered",
    "wrong of them",
    "wrong at most",
    "added error",
)


def _calibrated(one: Mapping[str, Any]) -> tuple[object, ...]:
    sides = [f"{one[side][-1][1]:.4f}" if one.get(side) else _NONE for side in ("safe", "unsafe")]
    return (
        f"{one['kind']}, {one['language']}",
        one["rows"],
        one.get("measured_on", _NONE),
        *sides,
        one.get("longest", _NONE),
        one.get("why_not", ""),
        ", ".join(one["one_sided_sources"]),
    )


def _answered(dev: Mapping[str, Any], side: str) -> Iterator[str]:
    """A table of what is answered, and a line of what is not."""
    named = [("all", dev["all"]), *((f"{one['kind']}, {one['language']}", one) for one in dev["groups"])]
    lines = [(name, one["rows"], *_point(point)) for name, one in named for point in _telling(one[side])]
    if lines:
        yield table(_HEAD, lines)
    left = [name for name, one in named[1:] if not any(_telling(one[side]))]
    if left:
        yield f"Nothing is answered of {plain('; '.join(left))}."


def _unseen(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not found:
        return
    yield "## A source that it has never seen, answered safe"
    yield (
        "The weights are learnt again without the source; the tables stay. So it may be where your posts are of "
        "another kind than the rows it learnt from: train on your own."
    )
    lines = [
        (one["source"], one["rows"], *_point(point)[:3]) for one in found for point in _telling(one["safe"])
    ]
    if lines:
        yield table(("source", "rows", "tolerance", "answered", "wrong of them"), lines)
    left = [one["source"] for one in found if not any(_telling(one["safe"]))]
    if left:
        yield f"Nothing is answered of {plain(', '.join(left))}."


def _telling(points: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Points at which something is answered, and more than at the one before."""
    before = 0
    for point in points:
        if point["answered"] > before:
            yield point
        before = point["answered"]


def _point(point: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{point['tolerance']:g}",
        f"{100 * point['share_answered']:.1f} %",
        f"{point['wrong']:,} of {point['answered']:,} ({100 * point['share_wrong']:.1f} %)",
        f"{100 * point['at_most']:.1f} %",
        f"{100 * point['added_error']:.2f} %",
    )
