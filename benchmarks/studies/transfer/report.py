"""The report of a transfer test, whose sources were left out in folds: distances between systems on the same rows, and the page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shared.report import interval, table
from sluicegate.engines.adapt.evaluate.measures import MEASURES, MeasuredRows, clusters, draws

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

SHOWN = {name: MEASURES[name] for name in ("auroc_safe", "macro_f1")}
ADAPTER, SAME_ROWS, ALL_ROWS = "adapter", "baseline_same_rows", "baseline_all_rows"
SAID = {ADAPTER: "adapter", SAME_ROWS: "baseline, same rows", ALL_ROWS: "baseline, all rows"}


def distance(
    ours: Sequence[ScoredRow], others: Sequence[ScoredRow], measure: str, *, seed: int
) -> dict[str, float] | None:
    """How much more a measure is for one system than for another, on the same rows drawn again together.

    Returns:
        Value and 95 % interval, positive where ours is better; None where the measure is not defined.
    """
    judged = {row.id for row in ours if row.failure is None} & {
        row.id for row in others if row.failure is None
    }
    by_id = {row.id: row for row in others}
    pairs = [(row, by_id[row.id]) for row in ours if row.id in judged]
    if not pairs:
        return None
    mine, theirs = (MeasuredRows.of(list(rows)) for rows in zip(*pairs, strict=True))
    count, take = len(pairs), SHOWN[measure]

    def apart(weights: Any) -> Any:
        return take(mine, weights) - take(theirs, weights)

    value = float(apart(np.ones((1, count)))[0])
    if np.isnan(value):
        return None
    cluster = clusters([row for row, _ in pairs])
    drawn = np.concatenate([apart(weights) for weights in draws(cluster, seed=seed, name=f"apart {measure}")])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"value": round(value, 5), "low": round(float(low), 5), "high": round(float(high), 5)}


def page(document: Mapping[str, Any]) -> str:
    """The report for people."""
    results = document["sources"]
    done = [one for one in results if "adapter_minus" in one]
    lines = [
        "# Leave sources out",
        "",
        (
            "Made by `python benchmarks/studies/transfer`. The sources of one fold were left out of the training together, and "
            "the dev rows of each judged afterwards: harder than one by one, since no other source of its fold was learnt. "
            f"The folds: {_folds(results)}. Adapter and the first baseline were trained on the same {document['planned_rows']:,} rows, at "
            f"most {document['max_tokens']} tokens each; the second baseline on all rows of the other sources. The shipped "
            "adapter saw several times as many rows: these figures compare two ways to learn, and are not its own."
        ),
        "",
        "Brackets hold 95 % bootstrap intervals. AUROC is that of safe against the rest.",
    ]
    for name, said in (("auroc_safe", "AUROC"), ("macro_f1", "Macro-F1")):
        lines += [
            "",
            f"## {said}",
            "",
            table(
                (
                    "source left out",
                    "language",
                    "kind",
                    "dev rows",
                    *SAID.values(),
                    "adapter − baseline, same rows",
                ),
                [_line(one, name) for one in results],
                left=3,
            ),
        ]
        if done:
            lines += ["", _counted(done, name, said)]
    return "\n".join([*lines, ""])


def _folds(results: Sequence[Mapping[str, Any]]) -> str:
    folds = dict.fromkeys(frozenset({one["source"], *one["left_out_with"]}) for one in results)
    return "; ".join(", ".join(sorted(fold)) for fold in folds)


def _counted(done: Sequence[Mapping[str, Any]], name: str, said: str) -> str:
    parts = []
    for other in (SAME_ROWS, ALL_ROWS):
        apart = [one["adapter_minus"][other][name] for one in done if one["adapter_minus"][other][name]]
        above, surely = sum(one["value"] > 0 for one in apart), sum(one["low"] > 0 for one in apart)
        below = sum(one["high"] < 0 for one in apart)
        parts.append(
            f"than the {SAID[other]} on {above} of {len(apart)} (on {surely} the interval lies above zero, on {below} below)"
        )
    return f"{said} of the adapter is higher {'; '.join(parts)}."


def _line(result: Mapping[str, Any], name: str) -> list[str]:
    cells = [interval(result["systems"].get(one, {}).get(name)) for one in SAID]
    apart = result.get("adapter_minus", {}).get(SAME_ROWS, {}).get(name)
    facts = [
        result["source"],
        ", ".join(result["languages"]),
        ", ".join(result["kinds"]),
        f"{result['dev_rows']:,}",
    ]
    return [*facts, *cells, interval(apart, "+")]
