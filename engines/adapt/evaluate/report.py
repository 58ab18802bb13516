"""The report: an evaluation as a Markdown page and as plots. No text of a row, unless asked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.evaluate.evaluation import FAILED
from sluicegate.engines.adapt.evaluate.measures import BINS
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.adapt.report import draw_picture, plain, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


SAID: Final = {
    "accuracy": ("accuracy", "share of rows whose likeliest severity is the label's"),
    "macro_f1": ("macro-F1", "mean F1 of the severities that occur among the labels"),
    "strict_f1": ("strict F1", "F1 of harmful, controversial counted as harmful"),
    "loose_f1": ("loose F1", "F1 of harmful, controversial counted as safe"),
    "auroc_safe": ("AUROC safe", "how well the probability of not being safe orders safe against all others"),
    "auroc_unsafe": ("AUROC unsafe", "how well the probability of unsafe orders unsafe against all others"),
    "recall_1_percent": ("recall at 1 %", "harmful rows found while 1 % of the safe ones are"),
    "recall_5_percent": ("recall at 5 %", "the same with 5 %"),
    "harmful_found": ("harmful found", "share of harmful rows found controversial or unsafe"),
    "false_positives": ("false positives", "share of safe rows found controversial or unsafe"),
    "false_unsafe": ("false unsafe", "share of safe rows found unsafe"),
    "ece": (
        "ECE",
        (
            f"calibration error: mean distance between the probability of the severity found and the share found right, "
            f"over {BINS} bins of equal mass by that probability; without interval, as rows drawn again add to it"
        ),
    ),
    "log_loss": ("log loss", "mean negative logarithm of the label's probability"),
    "brier": ("Brier", "mean squared distance of probabilities and label, 0 to 2"),
}
"""Name for people and meaning of each measure."""

_COLUMNS = ("accuracy", "macro_f1", "strict_f1", "auroc_safe", "auroc_unsafe", "false_positives")
_OF_CATEGORIES = (
    "accuracy",
    "harmful_found",
    "auroc_safe",
)  # all rows are harmful: F1 would say nothing more
_SHOWN_GROUPS = 60  # lines of one table; evaluation.json has all
_NOT_MEASURED = "–"
_OF_REASONS = (
    "A reason says a category if it holds its name, or is word for word a reason of labelled rows read here, "
    "most of which have that category. Whether a reason is true was not measured."
)


def shown(estimate: Mapping[str, float | None] | None) -> str:
    """An estimate for people: value and, where there is one, interval."""
    if estimate is None or estimate["value"] is None:
        return _NOT_MEASURED
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}–{estimate['high']:.3f})"


def page(document: Mapping[str, Any], *, title: str, texts: Mapping[str, str] | None = None) -> str:
    """The page.

    Args:
        document: What :func:`~sluicegate.engines.adapt.evaluate.evaluation.evaluation` made, with the facts of
            the run under ``judged``.
        title: Heading.
        texts: Texts by row id, for the list of worst rows; None shows no text.
    """
    parts = [
        f"# {plain(title)}",
        _first(document, texts),
        "## Judged",
        "\n".join(
            f"- {plain(name.replace('_', ' '))}: {plain(_said(value))}"
            for name, value in document["judged"].items()
        ),
        "## Measures",
        table(
            ("measure", "value (95 % interval)", "meaning"),
            (
                (said, shown(document["measures"].get(name)), meaning)
                for name, (said, meaning) in SAID.items()
            ),
        ),
        *(_group(name, groups) for name, groups in document["by"].items() if groups),
        "## Severities",
        "Rows by label, columns by what was found.",
        _counts("label", document["severities"]),
        "## Over-blocking",
        _over_blocking(document["over_blocking"]),
        "## Explanations",
        _explanations(document["explanations"]),
        "## Curves",
        "\n\n".join(f"![{said}]({name})" for name, said in PLOTS.items()),
        "## Worst rows",
        "Rows whose label got the least probability: wrong labels, or what the model does not know.",
        _worst(document["worst"], texts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _first(document: Mapping[str, Any], texts: Mapping[str, str] | None) -> str:
    failed = sum(document["failed"].values())
    codes = ", ".join(f"{code} {count:,}" for code, count in document["failed"].items())
    lines = [
        f"{document['rows']:,} rows, {document['rows'] - failed:,} judged, {failed:,} failed{codes and f' ({plain(codes)})'}."
    ]
    if failed:
        lines.append(
            "**A failed row is in no measure.** A worker sends it to review, whatever its label; count it as work for reviewers."
        )
    lines.append("" if texts is None else "**Texts of rows are shown below; they may be offensive.**")
    return "\n\n".join(line for line in lines if line)


def _said(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(str(_said(one)) for one in value)
    return "none" if value is None else value


def _group(name: str, groups: Mapping[str, Any]) -> str:
    wanted = _OF_CATEGORIES if name == "category" else _COLUMNS
    columns = [one for one in wanted if any(one in group["measures"] for group in groups.values())]
    listed = list(groups.items())[:_SHOWN_GROUPS]
    lines = [
        (
            group,
            found["rows"],
            "/".join(str(found[severity]) for severity in SEVERITIES),
            found[FAILED],
            *(shown(found["measures"].get(one)) for one in columns),
        )
        for group, found in listed
    ]
    head = (name.replace("_", " "), "rows", "safe/contr./unsafe", FAILED, *(SAID[one][0] for one in columns))
    said = [f"## By {name.replace('_', ' ')}"]
    if name == "category":
        said.append("A row counts in each of its categories. AUROC: against all safe rows.")
    said.append(table(head, lines))
    if len(groups) > len(listed):
        said.append(f"And {len(groups) - len(listed):,} more in evaluation.json.")
    return "\n\n".join(said)


def _counts(name: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    columns = list(next(iter(counts.values()), {}))
    return table((name, *columns), ((label, *found.values()) for label, found in counts.items()))


def _over_blocking(groups: Mapping[str, Any]) -> str:
    if not groups:
        return "No row is labelled safe."
    return table(
        ("rows labelled safe", "rows", FAILED, "found controversial or unsafe", "found unsafe"),
        (
            (
                name,
                group["rows"],
                group[FAILED],
                shown(group["measures"].get("false_positives")),
                shown(group["measures"].get("false_unsafe")),
            )
            for name, group in groups.items()
        ),
    )


def _explanations(found: Mapping[str, Any]) -> str:
    if not found["asked"]:
        return "None was asked for (`--explain`)."
    failed = ", ".join(f"{code} {count:,}" for code, count in found["failed"].items()) or "none"
    lines = [
        ("of the agreed form, of those that came", found["well_formed"]),
        ("one category right at least; label and finding harmful", found["category"]["any_right"]),
        ("the same categories as the label; likewise", found["category"]["all_right"]),
        ("refusal right; responses whose label says it", found["refusal_right"]),
        (
            "the reason says a category; rows with a reason and a label that names one",
            found["reason_says_category"],
        ),
        ("it says one of the label's; likewise", found["reason_says_right_category"]),
    ]
    return "\n\n".join(
        [
            f"Asked for: {found['asked']:,}; failures: {plain(failed)}; with a reason: {found['reasons']:,}.",
            table(
                ("explanations", "rows", "right", "share"), ((said, *_share(part)) for said, part in lines)
            ),
            _OF_REASONS,
            "Rows by category of the label, columns by category found. A row counts in each of its pairs.",
            _counts("label", found["categories"]),
        ]
    )


def _share(part: Mapping[str, Any]) -> tuple[int, int, str]:
    share = _NOT_MEASURED if part["share"] is None else f"{part['share']:.3f}"
    return part["rows"], part["right"], share


def _worst(ids: Sequence[str], texts: Mapping[str, str] | None) -> str:
    if not ids:
        return "None."
    if texts is None:
        return "\n".join(f"- {plain(one)}" for one in ids)
    return "\n".join(f"- {plain(one)}: {plain(texts.get(one, ''))}" for one in ids)
