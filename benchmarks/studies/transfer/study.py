"""Leave sources out: how well adapter and baseline judge a source that neither has seen.

    python benchmarks/studies/transfer --data labelled --work /tmp/transfer --only baseline
    python benchmarks/studies/transfer --data labelled --work /tmp/transfer \\
        --trainer training/bin/sluicegate --planned-rows 4000

The sources are left out in folds: those of one fold together, which is harder than one by one (no other source of the
fold is learnt either) and needs one training a fold. For each: prepare the other sources, train on them, judge the dev
rows of each source left out. The baseline is trained twice, on the very rows that train the adapter and on all rows. --trainer is a sluicegate with the extra
`adapt`; the base is that of `sluicegate engine fetch-cpu --base`. What is done is kept in --work: the same command
goes on, in the middle of a training too. The report is written again after every source.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from baselines import Baseline
from shared.report import REPORTS, ROOT, options, write
from sluicegate.engines.adapt.evaluate.labelled_rows import draw, read_labelled
from sluicegate.engines.adapt.evaluate.measures import estimates
from sluicegate.engines.adapt.evaluate.scored import ScoredRow, labelled, read_scores, write_scores
from sluicegate.engines.adapt.train.plan import make_plan
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from sluicegate.engines.errors import EngineError
from studies.transfer.report import ADAPTER, ALL_ROWS, SAID, SAME_ROWS, SHOWN, distance, page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluicegate.engines.adapt.data.rows import Row

FOLDS = ("davidson+germeval2018+constraint_covid", "swsr+offendes+convabuse")
"""Sources with two or three severities under a licence that lets the adapter ship, of four
languages; sources of one language that are alike are in different folds."""

_HELD_OUT = "held-out.jsonl"
_RESULTS = "results.json"


@dataclass(frozen=True)
class Wanted:
    """What every fold is put through."""

    data: Path
    work: Path
    trainer: Path | None
    """None: only what needs no training."""
    planned_rows: int
    dev_rows: int
    max_tokens: int
    base: str
    seed: int

    def recipe(self) -> dict[str, Any]:
        """A small training; nothing is measured in it."""
        return {
            "base": {"bundle": self.base},
            "lora": {"preset": "strong"},
            "data": {"planned_rows": self.planned_rows, "max_tokens": self.max_tokens, "balance": 0.6},
            "optimiser": {"learning_rate": 8.0e-4, "final_share": 0.05},
            "dev": {"rows": 0},
        }


class Fold:
    """Some sources left out together; every step is skipped that is done.

    Args:
        sources: Their names.
        wanted: What it is put through.
    """

    def __init__(self, sources: Sequence[str], wanted: Wanted) -> None:
        self.sources = tuple(sources)
        self.name = "+".join(sources)
        self.folder = wanted.work / self.name
        self.prepared = self.folder / "prepared"
        # A plan of another size is another training: its results have a folder of their own.
        self.trained = self.folder / f"{wanted.planned_rows}-rows-{wanted.max_tokens}-tokens"
        self._wanted = wanted

    def baselines(self) -> None:
        """Train and judge both baselines."""
        held_out = self._held_out()
        rows = read_labelled([self.prepared / "train.jsonl"]).rows
        self._baseline(ALL_ROWS, self.folder / f"{ALL_ROWS}-{len(held_out)}", rows, held_out)
        recipe = TrainingRecipe.model_validate(self._wanted.recipe())
        planned = make_plan(recipe, self.prepared)
        ids = {planned.train[index].row_id for one in planned.steps for part in one for index in part}
        same = [row for row in rows if row.id in ids]
        self._baseline(SAME_ROWS, self.trained / f"{SAME_ROWS}-{len(held_out)}", same, held_out)

    def adapter(self, trainer: Path) -> None:
        """Train an adapter and judge with it, each in a process of its own."""
        held_out = self._held_out()
        recipe, out = self.trained / "recipe.yaml", self.trained / "training"
        self.trained.mkdir(parents=True, exist_ok=True)
        recipe.write_text(json.dumps(self._wanted.recipe(), indent=1))  # JSON is YAML
        _run([trainer, "adapt", "train", recipe, "--data", self.prepared, "--out", out, "--threads", "1"])
        scores = self.trained / f"{ADAPTER}-{len(held_out)}"
        judge: list[str | Path] = [trainer, "adapt", "evaluate", self.folder / _HELD_OUT, "--out", scores]
        _run([*judge, "--checkpoint", out / "adapter", "--threads", "1"])

    def results(self) -> list[dict[str, Any]]:
        """What is measured so far of each source."""
        held_out = self._held_out()
        folders = {
            ALL_ROWS: self.folder / f"{ALL_ROWS}-{len(held_out)}",
            SAME_ROWS: self.trained / f"{SAME_ROWS}-{len(held_out)}",
            ADAPTER: self.trained / f"{ADAPTER}-{len(held_out)}",
        }
        found = {
            one: read_scores(folder) for one, folder in folders.items() if (folder / "scores.jsonl").exists()
        }
        return [
            self._result(source, [row for row in held_out if row.source == source], found)
            for source in self.sources
        ]

    def _result(
        self, source: str, held_out: Sequence[Row], judged: Mapping[str, Sequence[ScoredRow]]
    ) -> dict[str, Any]:
        """With intervals, and the distance of the adapter from each baseline."""
        ids = {row.id for row in held_out}
        found = {one: [row for row in rows if row.id in ids] for one, rows in judged.items()}
        seed = self._wanted.seed
        document: dict[str, Any] = {
            "source": source,
            "left_out_with": [one for one in self.sources if one != source],
            "languages": sorted({row.language or "und" for row in held_out}),
            "kinds": sorted({row.kind for row in held_out}),
            "dev_rows": len(held_out),
            "severities": {
                one: sum(row.severity == one for row in held_out)
                for one in ("safe", "controversial", "unsafe")
            },
            "planned_rows": self._wanted.planned_rows,
            "systems": {
                one: {
                    name: estimate.document()
                    for name, estimate in estimates(rows, seed=seed, name=source, measures=SHOWN).items()
                }
                for one, rows in found.items()
            },
            "failed": {one: sum(row.failure is not None for row in rows) for one, rows in found.items()},
        }
        if ADAPTER in found:
            document["adapter_minus"] = {
                one: {name: distance(found[ADAPTER], found[one], name, seed=seed) for name in SHOWN}
                for one in (SAME_ROWS, ALL_ROWS)
            }
        return document

    def _held_out(self) -> list[Row]:
        """The dev rows to judge; prepares the other sources the first time."""
        if not (self.prepared / "reasons.json").exists():
            script = ROOT / "benchmarks" / "shipped_adapter" / "rows.py"
            command: list[str | Path] = [
                sys.executable,
                script,
                "--data",
                self._wanted.data,
                "--out",
                self.folder,
            ]
            _run([*command, "--without", ",".join(self.sources)])
        chosen: list[Row] = []
        for source in self.sources:
            rows = read_labelled([self._wanted.data / f"{source}.jsonl"], split="dev").rows
            chosen += draw(rows, self._wanted.dev_rows, seed=self._wanted.seed)
        lines = [orjson.dumps(row.document()) + b"\n" for row in chosen]
        (self.folder / _HELD_OUT).write_bytes(b"".join(lines))
        return chosen

    def _baseline(self, name: str, out: Path, rows: Sequence[Row], held_out: Sequence[Row]) -> None:
        if (out / "scores.jsonl").exists():
            return
        print(f"{self.name}: {SAID[name]}: {len(rows):,} training rows", flush=True)
        baseline = Baseline.fit([row.text for row in rows], [row.severity for row in rows])
        found = baseline.probabilities([row.text for row in held_out]).tolist()
        write_scores(
            out,
            [
                ScoredRow(**labelled(row), probabilities=tuple(three))
                for row, three in zip(held_out, found, strict=True)
            ],
        )


def _run(command: Sequence[str | Path]) -> None:
    """Run a step.

    Raises:
        SystemExit: It failed; it said why.
    """
    done = subprocess.run([str(part) for part in command], check=False)
    if done.returncode:
        raise SystemExit(
            f"transfer: {' '.join(str(part) for part in command[1:4])} … ended with {done.returncode}"
        )


def report(wanted: Wanted, folds: Sequence[Fold], out: Path) -> None:
    """Write the report of all folds that have results."""
    kept = [fold.folder / f"{wanted.planned_rows}-{_RESULTS}" for fold in folds]
    document = {
        "command": "python benchmarks/studies/transfer",
        "planned_rows": wanted.planned_rows,
        "max_tokens": wanted.max_tokens,
        "recipe": {**wanted.recipe(), "base": {"bundle": "cpu"}},
        "seed": wanted.seed,
        "sources": [one for path in kept if path.exists() for one in json.loads(path.read_text())],
    }
    write(out, "transfer", document, page(document))


def main(arguments: Sequence[str]) -> int:
    """One fold after the other."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled files, one a source")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way")
    parser.add_argument(
        "--folds",
        default=",".join(FOLDS),
        help="folds, in their order, with commas; + joins the sources of one",
    )
    parser.add_argument("--trainer", type=Path, help="a sluicegate with the extra `adapt`")
    parser.add_argument("--only", choices=("baseline",), help="train no adapter")
    parser.add_argument("--planned-rows", type=int, default=4000, help="rows that train the adapter")
    parser.add_argument("--dev-rows", type=int, default=600, help="at most so many are judged of each source")
    parser.add_argument("--max-tokens", type=int, default=128, help="longer texts are cut in training")
    parser.add_argument(
        "--base", default="cpu", help="the CPU model's bundle, if it is not where it was fetched to"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample and intervals")
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder for transfer.json and transfer.md")
    given = parser.parse_args(arguments)
    if given.only is None and given.trainer is None:
        parser.error("give --trainer, or --only baseline")
    wanted = Wanted(
        given.data,
        given.work,
        given.trainer,
        given.planned_rows,
        given.dev_rows,
        given.max_tokens,
        given.base,
        given.seed,
    )
    folds = [Fold(one.split("+"), wanted) for one in given.folds.split(",")]
    started = time.monotonic()
    try:
        for number, fold in enumerate(folds, 1):
            fold.baselines()
            if given.only is None:
                fold.adapter(given.trainer)
            kept = fold.folder / f"{given.planned_rows}-{_RESULTS}"
            kept.write_text(json.dumps(fold.results(), ensure_ascii=False))
            report(wanted, folds, given.out)
            minutes = (time.monotonic() - started) / 60
            print(f"{number} of {len(folds)}: {fold.name}, {minutes:.0f} min", flush=True)
    except EngineError as error:
        print(f"transfer: {error}", file=sys.stderr)
        return 1
    return 0
