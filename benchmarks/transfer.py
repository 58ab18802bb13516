"""Leave one source out: how well adapter and baseline judge a source that neither has seen.

    python benchmarks/transfer.py --data labelled --work /tmp/transfer --only baseline
    python benchmarks/transfer.py --data labelled --work /tmp/transfer \\
        --trainer training/bin/sluicegate --planned-rows 1500

For each source: prepare the other sources, train on them, judge the dev rows of the one left out. The baseline is
trained twice, on the very rows that train the adapter and on all rows. --trainer is a sluicegate with the extra
`adapt`; the base is that of `sluicegate engine fetch-cpu --base`. What is done is kept in --work: the same command
goes on, in the middle of a training too. The report is written again after every source.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from transfer_report import ADAPTER, ALL_ROWS, SAID, SAME_ROWS, SHOWN, distance, page

from baselines import Baseline
from sluicegate.engines.adapt.evaluating.intervals import estimates
from sluicegate.engines.adapt.evaluating.labelled_rows import read_labelled
from sluicegate.engines.adapt.evaluating.sampling import draw
from sluicegate.engines.adapt.evaluating.scored import ScoredRow, labelled, read_scores, write_scores
from sluicegate.engines.adapt.training.plan import make_plan
from sluicegate.engines.adapt.training.recipe import Recipe
from sluicegate.engines.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.rows import Row

HERE = Path(__file__).resolve().parent
SOURCES = (
    "davidson",
    "swsr",
    "germeval2018",
    "sms_phishing",
    "offendes",
    "mlma_fr",
    "convabuse",
    "cold",
    "constraint_covid",
    "mlma_ar",
    "hrde_health_rumour",
)
"""Those with two or three severities under a licence that lets the adapter ship, of six languages; the most telling first."""

_HELD_OUT = "held-out.jsonl"
_RESULT = "result.json"


@dataclass(frozen=True)
class Wanted:
    """What every source is put through."""

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


class Source:
    """One source left out; every step is skipped that is done.

    Args:
        name: Of the source.
        wanted: What it is put through.
    """

    def __init__(self, name: str, wanted: Wanted) -> None:
        self.name = name
        self.folder = wanted.work / name
        self.prepared = self.folder / "prepared"
        # A plan of another size is another training: its results have a folder of their own.
        self.trained = self.folder / f"{wanted.planned_rows}-rows-{wanted.max_tokens}-tokens"
        self._wanted = wanted

    def baselines(self) -> None:
        """Train and judge both baselines."""
        held_out = self._held_out()
        rows = read_labelled([self.prepared / "train.jsonl"]).rows
        self._baseline(ALL_ROWS, self.folder / f"{ALL_ROWS}-{len(held_out)}", rows, held_out)
        recipe = Recipe.model_validate(self._wanted.recipe())
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

    def result(self) -> dict[str, Any]:
        """What is measured so far, with intervals, and the distance of the adapter from each baseline."""
        held_out = self._held_out()
        folders = {
            ALL_ROWS: self.folder / f"{ALL_ROWS}-{len(held_out)}",
            SAME_ROWS: self.trained / f"{SAME_ROWS}-{len(held_out)}",
            ADAPTER: self.trained / f"{ADAPTER}-{len(held_out)}",
        }
        found = {
            one: read_scores(folder) for one, folder in folders.items() if (folder / "scores.jsonl").exists()
        }
        seed = self._wanted.seed
        document: dict[str, Any] = {
            "source": self.name,
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
                    for name, estimate in estimates(rows, seed=seed, name=self.name, measures=SHOWN).items()
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
            script = HERE / "shipped_adapter" / "rows.py"
            command: list[str | Path] = [
                sys.executable,
                script,
                "--data",
                self._wanted.data,
                "--out",
                self.folder,
            ]
            _run([*command, "--without", self.name])
        rows = read_labelled([self._wanted.data / f"{self.name}.jsonl"], split="dev").rows
        chosen = draw(rows, self._wanted.dev_rows, seed=self._wanted.seed)
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


def report(wanted: Wanted, names: Sequence[str], out: Path) -> None:
    """Write the report of all sources that have a result."""
    kept = [wanted.work / name / f"{wanted.planned_rows}-{_RESULT}" for name in names]
    document = {
        "command": "python benchmarks/transfer.py",
        "planned_rows": wanted.planned_rows,
        "max_tokens": wanted.max_tokens,
        "recipe": {**wanted.recipe(), "base": {"bundle": "cpu"}},
        "seed": wanted.seed,
        "sources": [json.loads(path.read_text()) for path in kept if path.exists()],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "transfer.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (out / "transfer.md").write_text(page(document))


def main(arguments: Sequence[str]) -> int:
    """One source after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled files, one a source")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way")
    parser.add_argument("--sources", default=",".join(SOURCES), help="names, in their order, with commas")
    parser.add_argument("--trainer", type=Path, help="a sluicegate with the extra `adapt`")
    parser.add_argument("--only", choices=("baseline",), help="train no adapter")
    parser.add_argument("--planned-rows", type=int, default=1500, help="rows that train the adapter")
    parser.add_argument("--dev-rows", type=int, default=600, help="at most so many are judged of each source")
    parser.add_argument("--max-tokens", type=int, default=128, help="longer texts are cut in training")
    parser.add_argument(
        "--base", default="cpu", help="the CPU model's bundle, if it is not where it was fetched to"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sample and intervals")
    parser.add_argument(
        "--out", type=Path, default=HERE / "reports", help="folder for transfer.json and transfer.md"
    )
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
    names = given.sources.split(",")
    started = time.monotonic()
    try:
        for number, name in enumerate(names, 1):
            source = Source(name, wanted)
            source.baselines()
            if given.only is None:
                source.adapter(given.trainer)
            result = source.result()
            (source.folder / f"{given.planned_rows}-{_RESULT}").write_text(
                json.dumps(result, ensure_ascii=False)
            )
            report(wanted, names, given.out)
            print(
                f"{number} of {len(names)}: {name}, {(time.monotonic() - started) / 60:.0f} min", flush=True
            )
    except EngineError as error:
        print(f"transfer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
