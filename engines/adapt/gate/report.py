"""The gate's report as a Markdown page. Pure. Ids of rows at most, never a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.adapt.gate.checks import ALL
from sluicegate.engines.adapt.gate.differences import MEASURES
from sluicegate.engines.adapt.report import plain, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SAID: Final = {
    **{measure.name: measure.said for measure in MEASURES},
    "macro_f1_least": "macro-F1",
    "harmful_recall_least": "recall of harmful",
    "benign_false_positives_most": "false positives on benign",
    "newly_failed_most": "rows that only the new model could not score",
    "well_formed_least": "explanations in the agreed form",
    "explained_rows_least": "explanations seen",
}
"""Name for people of everything that is checked."""

_OUTCOMES: Final = {
    "passed": "passed",
    "regression": "REGRESSION",
    "not_limited": "no limit",
    "few_rows": "too few rows",
}
_SHOWN = 100  # lines of one table; gate.json has all
_NONE = "–"


def page(document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: What :func:`~sluicegate.engines.adapt.gate.gate.gate` made.
    """
    checks = document["checks"]
    parts = [
        f"# Gate: {'passed' if document['passed'] else 'refused'}",
        (
            f"{document['rows']:,} rows, {document['rows_compared']:,} scored by both models. Differences are new minus "
            "current; the intervals of a table hold together in 95 % of the draws."
        ),
        "## Models",
        _models(document),
        "## Regressions",
        "\n".join(f"- {plain(one)}" for one in map(sentence, document["regressions"])) or "None.",
        "## All rows",
        _checks([one for one in checks if one["by"] == ALL]),
        "## Groups",
        _checks([one for one in checks if one["by"] != ALL]),
        _left_out(document["groups_not_looked_at"]),
        "## Actions",
        f"What the policy {plain(document['policy'].get('name', ''))} ({plain(document['policy'].get('digest', ''))}) makes of the scores alone.",
        _actions(document),
        "## Changed actions",
        "The same, current to new.",
        _flips(document["flips"]["actions"]),
        "## Changed severities",
        _flips(document["flips"]["severities"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def sentence(check: Mapping[str, Any]) -> str:
    """One check in words: what, of which rows, from where to where, and the limit. Not yet plain."""
    said = SAID.get(check["what"], check["what"])
    where = "" if check["by"] == ALL else f", {check['by'].replace('_', ' ')} {check['group']}"
    if check["needed"] is not None:
        return f"{said}{where}: {check['rows']:,} rows, at least {check['needed']:,} needed"
    if check["current"] is None or check["new"] is None:
        value = "not measured" if check["new"] is None else _number(check["new"])
        return f"{said}{where}: {value} ({check['rows']:,} rows; limit {_number(check['limit'])})"
    interval = check["interval"]
    certain = "" if interval is None else f", {interval[0]:+.3f} to {interval[1]:+.3f}"
    return (
        f"{said}{where}: {check['current']:.3f} to {check['new']:.3f} "
        f"({check['difference']:+.3f}{certain}; {check['rows']:,} rows; limit {_number(check['limit'])})"
    )


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _models(document: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            side["model"],
            side["adapter"] or _NONE,
            side["backend"],
            side["engine_digest"],
            side["failed"],
        )
        for name, side in (("new", document["new"]), ("current", document["current"]))
    ]
    return table(("", "model", "adapter", "backend", "digest", "failed rows"), rows)


def _actions(document: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            "calibrated" if document[name]["calibrated"] else "as the model gave them",
            *(document["actions"][name].get(action, 0) for action in ("allow", "review", "block")),
        )
        for name in ("new", "current")
    ]
    return table(("", "scores", "allow", "review", "block"), rows)


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    if not checks:
        return "None."
    # What counts against the model must not be what a long table leaves out.
    ordered = sorted(checks, key=lambda one: one["outcome"] != "regression")
    lines = [
        (
            "all rows" if one["by"] == ALL else f"{one['by']} {one['group']}",
            SAID.get(one["what"], one["what"]),
            one["rows"],
            _value(one["current"]),
            _value(one["new"]),
            _difference(one),
            _number(one["limit"]),
            _OUTCOMES[one["outcome"]],
        )
        for one in ordered[:_SHOWN]
    ]
    shown = table(("rows of", "measure", "rows", "current", "new", "difference", "limit", "outcome"), lines)
    more = len(checks) - len(lines)
    return f"{shown}\n\nAnd {more:,} more in gate.json." if more > 0 else shown


def _value(value: float | None) -> str:
    return _NONE if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _difference(check: Mapping[str, Any]) -> str:
    if check["difference"] is None:
        return _NONE
    interval = check["interval"]
    between = "" if interval is None else f" ({interval[0]:+.3f} to {interval[1]:+.3f})"
    return f"{check['difference']:+.3f}{between}"


def _left_out(counts: Mapping[str, int]) -> str:
    said = ", ".join(f"{count:,} of {name}" for name, count in counts.items() if count)
    return f"The smallest groups were not looked at: {said}." if said else ""


def _flips(directions: Mapping[str, Mapping[str, Any]]) -> str:
    if not directions:
        return "None."
    rows: Iterable[Sequence[object]] = (
        (name, one["rows"], *(one[severity] for severity in SEVERITIES), ", ".join(one["ids"][:5]))
        for name, one in directions.items()
    )
    return table(("current to new", "rows", *(f"labelled {one}" for one in SEVERITIES), "such as"), rows)
