"""Train the baseline on the adapter's rows and on all rows, and measure both on dev rows.

    python benchmarks/shipped_adapter/rows.py --data labelled --out /tmp/shipped
    python benchmarks/baselines/train.py --data labelled --prepared /tmp/shipped/prepared

Writes permissive.npz, the weights that ship, and benchmarks/reports/baseline.json and .md. The weights of all rows
are measured and thrown away: not every source's licence would let them ship. Some minutes on one core, 3 GB of memory.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from baselines.tfidf import WEIGHTS, Baseline, scored_by
from shared.report import REPORTS, interval, options, table, write
from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled, rows_digest
from sluicegate.engines.adapt.evaluate.measures import MEASURES, estimates
from sluicegate.engines.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

SHOWN = {name: MEASURES[name] for name in ("accuracy", "macro_f1", "auroc_safe")}
SAID = {
    "permissive": "trained on the adapter's rows (these weights ship)",
    "all": "trained on all training rows (only measured)",
}
DEV = {
    "all_sources": "all dev rows",
    "permissive_sources": "dev rows of the sources that the adapter is trained on, and of our own rows",
}


def measured(rows: Sequence[ScoredRow], seed: int) -> dict[str, dict[str, Any]]:
    """All rows, and those of each language, most first: count and measures with intervals."""
    languages: dict[str, list[ScoredRow]] = {}
    for row in rows:
        languages.setdefault(row.language_name, []).append(row)
    groups = {"all": list(rows), **dict(sorted(languages.items(), key=lambda one: (-len(one[1]), one[0])))}
    return {
        name: {
            "rows": len(group),
            **{
                one: found.document()
                for one, found in estimates(group, seed=seed, name=name, measures=SHOWN).items()
            },
        }
        for name, group in groups.items()
    }


def trained(rows: Sequence[Row]) -> tuple[Baseline, float]:
    """A baseline of rows, with facts about them, and how long it took in seconds."""
    started = time.monotonic()
    sources: dict[str, str | None] = {row.source: row.licence for row in rows}
    facts = {
        "rows": len(rows),
        "rows_digest": rows_digest(rows),
        "sources": {
            name: {"licence": sources[name], "rows": sum(row.source == name for row in rows)}
            for name in sorted(sources)
        },
    }
    baseline = Baseline.fit([row.text for row in rows], [row.severity for row in rows], facts=facts)
    return baseline, time.monotonic() - started


def page(document: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [
        "# The baseline",
        "",
        (
            "Made by `python benchmarks/baselines/train.py`. TF-IDF of words, pairs of words and runs of two to five "
            "characters within words, hashed; logistic regression, each severity with the same weight. It reads the text "
            "alone: neither kind, context nor language."
        ),
        "",
    ]
    for name, said in SAID.items():
        system = document["systems"][name]
        lines.append(f"- **{name}**: {said}: {system['rows']:,} rows, trained in {system['seconds']:,.0f} s.")
    lines += [
        "",
        (
            "Brackets hold 95 % bootstrap intervals. AUROC is that of safe against the rest; a dash stands where all rows "
            "have one label. Macro-F1 is the mean over the severities that occur."
        ),
    ]
    for dev, said in DEV.items():
        systems = {name: document["systems"][name]["dev"][dev] for name in SAID}
        head = [
            "language",
            "rows",
            *(one for name in SAID for one in (f"{name}: accuracy", "macro-F1", "AUROC")),
        ]
        lines += ["", f"## On {said}", "", table(head, [_line(group, systems) for group in systems["all"]])]
    lines += [
        "",
        (
            "Rows that trained the second one were not compared with dev for near duplicates; those of the adapter were, "
            "by `sluicegate adapt prepare`."
        ),
        "",
    ]
    return "\n".join(lines)


def _line(group: str, systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    cells = [interval(systems[name][group].get(one)) for name in SAID for one in SHOWN]
    return [group, f"{systems['all'][group]['rows']:,}", *cells]


def main(arguments: Sequence[str]) -> int:
    """Train, measure and write."""
    parser = options(__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of labelled files, with train and dev rows"
    )
    parser.add_argument(
        "--prepared", type=Path, required=True, help="the adapter's rows, as rows.py wrote them"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="file for the weights that ship")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder for baseline.json and baseline.md")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals")
    given = parser.parse_args(arguments)
    try:
        dev = {
            "all_sources": read_labelled([given.data], split="dev").rows,
            "permissive_sources": read_labelled([given.prepared / "dev.jsonl"]).rows,
        }
        train = {
            "permissive": read_labelled([given.prepared / "train.jsonl"]).rows,
            "all": read_labelled([given.data], split="train").rows,
        }
    except EngineError as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    systems: dict[str, Any] = {}
    for name, rows in train.items():
        print(f"{name}: training on {len(rows):,} rows", flush=True)
        baseline, seconds = trained(rows)
        if name == "permissive":
            baseline.save(given.weights)
            baseline = Baseline.load(given.weights)  # what is measured is what ships
        systems[name] = {
            **baseline.facts,
            "seconds": round(seconds, 1),
            "dev": {one: measured(scored_by(baseline, chosen), given.seed) for one, chosen in dev.items()},
        }
        print(f"{name}: {systems[name]['dev']['all_sources']['all']}", flush=True)
    document = {
        "command": "python benchmarks/baselines/train.py",
        "seed": given.seed,
        "dev": {
            one: {"rows": len(chosen), "rows_digest": rows_digest(chosen)} for one, chosen in dev.items()
        },
        "weights_bytes": given.weights.stat().st_size,
        "systems": systems,
    }
    write(given.out, "baseline", document, page(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
