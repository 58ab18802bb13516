"""The shipped adapter, its base and the baseline on the same labelled rows.

    python benchmarks/evaluate [--data FOLDER ...] [--sample 1000] [--seed 0] [--out .cache/evaluate]
                                  [--report benchmarks/reports]

Judges dev rows with the CPU engine: a stratified sample with a fixed seed of the folders, or the small shipped
sample. Prints a table by language with 95 % intervals; apart, the sources whose licences kept them out of the
adapter's training; and one line that sums up. Answers are kept in --out: a run that was interrupted goes on.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import baselines
from shared.report import SAMPLE, folder_of, options, write
from shipped_adapter.rows import OWN, sentence
from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate.judging import JudgingTerms
from sluicegate.engines.adapt.evaluate.labelled_rows import Labelled, draw, read_labelled, rows_digest
from sluicegate.engines.adapt.evaluate.measures import MEASURES, Estimate, estimates
from sluicegate.engines.adapt.evaluate.report import PLOTS, shown
from sluicegate.engines.adapt.evaluate.run import WantedEvaluation, evaluate
from sluicegate.engines.adapt.evaluate.scored import read_scores, write_scores
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.cpu_model.models import MODELS, SMALL
from sluicegate.engines.errors import EngineError
from sluicegate.pipeline.command.options import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

SYSTEMS = ("adapter", "base", "baseline")
SHOWN = {name: MEASURES[name] for name in ("macro_f1", "auroc_safe")}
TRAINED, LEFT_OUT = "trained on", "left out"
_WIDTH = 22
_ROWS = 1000  # of adapter and base: a quarter of an hour at two rows a second
_TIMEOUT_S = 600.0  # of some prompts: a busy machine is slow, and nobody waits for one post
_MOST_FAILED = (
    0.1  # a system that fails on more of its rows is not compared: few rows would be left for the others
)
_EXPLAINED_ROWS = 60  # each takes as long as three scores
_EXPLAINED = {
    "well_formed": "of the agreed form",
    "any_right": "names a right category",
    "reason_says_right_category": "its reason says one of the label's categories",
}


@dataclass(frozen=True)
class Line:
    """A group of rows, or all: its count, and the measures of each system."""

    name: str
    rows: int
    measures: Mapping[str, Mapping[str, Estimate]]


def main(arguments: list[str]) -> int:
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, nargs="+", help="labelled files; their dev rows are judged")
    parser.add_argument("--model", choices=list(MODELS), default=SMALL.name, help="the CPU model")
    parser.add_argument("--sample", type=int, default=_ROWS, help="at most so many rows of --data")
    parser.add_argument(
        "--explain-rows", type=int, default=_EXPLAINED_ROWS, help="at most so many are explained"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample and the intervals")
    parser.add_argument("--out", type=Path, default=Path(".cache/evaluate"), help="folder for results")
    parser.add_argument(
        "--report",
        type=Path,
        help="folder for evaluate.md, evaluate.json and plots; a model that is not the default has one of its own in it",
    )
    given = parser.parse_args(arguments)
    began = time.monotonic()
    model = MODELS[given.model]
    out = folder_of(model, given.out)
    try:
        baseline = load_baseline()
        rows_read = read_labelled(given.data or [SAMPLE], split="dev")
        rows_read.reasons = known_reasons(rows_read)
        rows_read.rows = draw(
            rows_read.rows, given.sample if given.data else len(rows_read.rows), seed=given.seed
        )
        scored = {"baseline": baselines.scored_by(baseline, rows_read.rows)}
        write_scores(out / "baseline", scored["baseline"])
        documents = {}
        for name in ("adapter", "base"):
            bundle = model.bundle_path(base=name == "base")
            documents[name] = judged(name, bundle, rows_read, out / name, given.seed, given.explain_rows)
            scored[name] = read_scores(out / name)
    except EngineError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    scored = {name: scored[name] for name in SYSTEMS}
    sound = comparable(scored)
    languages = table(sound, seed=given.seed)
    sources = apart(sound, baseline.facts.get("sources", ()), seed=given.seed)
    told = [*rendered("language", languages), ""]
    if sources:
        told += ["By licence: sources that the adapter is trained on, and those it may not be trained on."]
        told += [*rendered("source", sources), ""]
    told += [explained(documents["adapter"]["explanations"]), *failures(scored)]
    last = [summary(languages[-1]), used(rows_read, given.data, given.sample, given.seed)]
    print("\n".join([*told, "", *last]))
    if given.report:
        document = {
            "command": ["make", "evaluate", *([] if given.model == SMALL.name else [f"MODEL={given.model}"])],
            "minutes": round((time.monotonic() - began) / 60, 1),
            "summary": last[0],
            "data": last[1],
            "files": rows_read.files,
            "languages": [_as_json("language", line) for line in languages],
            "sources": [_as_json("source", line) for line in sources],
            **{name: _in_short(one) for name, one in documents.items()},
        }
        write_report(folder_of(model, given.report), told, last, document, out / "adapter")
    return 0


def judged(
    name: str, bundle: Path, rows_read: Labelled, out: Path, seed: int, explain_rows: int
) -> dict[str, Any]:
    """What the CPU engine finds, written to a folder: with the shipped adapter, or the base alone."""
    print(f"{name}:", file=sys.stderr)
    explain = "harmful" if name == "adapter" else "none"
    terms = JudgingTerms(_TIMEOUT_S, _TIMEOUT_S, explain=explain, explain_rows=explain_rows, seed=seed)
    choice = EngineChoice(backend="llama_cpp", bundle=bundle)
    wanted = WantedEvaluation(seed=seed, split="dev", title=f"CPU model, {name}")
    with progress(sys.stderr) as advance:
        return evaluate(rows_read, open_backend(choice), out, terms, wanted, advance)


def known_reasons(rows_read: Labelled) -> dict[str, Counter[str]]:
    """Reasons that the adapter may have learnt, with the categories of their rows.

    Those of the rows read, of our own rows, and the templates' for labels like theirs.
    """
    found = {reason: Counter(categories) for reason, categories in rows_read.reasons.items()}
    for reason, categories in read_labelled([OWN]).reasons.items():
        found.setdefault(reason, Counter()).update(categories)
    for row in rows_read.rows:
        if (told := sentence(row.document())) is not None:
            found.setdefault(told, Counter()).update(row.categories)
    return found


def load_baseline() -> baselines.Baseline:
    """The shipped baseline.

    Raises:
        EvaluationError: Its weights are missing, or no baseline's.
    """
    try:
        return baselines.load_baseline()
    except ValueError as error:
        raise EvaluationError(str(error)) from error


def comparable(scored: Mapping[str, Sequence[ScoredRow]]) -> dict[str, Sequence[ScoredRow]]:
    """Each system's rows; none of a base or baseline that failed on many, as a base does that knows no labels."""
    return {
        name: [] if name != SYSTEMS[0] and _failed(rows) > _MOST_FAILED * len(rows) else rows
        for name, rows in scored.items()
    }


def _failed(rows: Sequence[ScoredRow]) -> int:
    return sum(row.failure is not None for row in rows)


def table(scored: Mapping[str, Sequence[ScoredRow]], *, seed: int) -> list[Line]:
    """By language, most rows first, and all together last. A row that one system failed on counts for none."""
    kept = _judged_by_all(scored)
    return [*_lines(kept, lambda row: row.language_name, seed), _line("all", kept, seed)]


def apart(scored: Mapping[str, Sequence[ScoredRow]], trained: Collection[str], *, seed: int) -> list[Line]:
    """Sources that train the adapter, together; those left out, together and each. Empty where there are not both."""
    kept = _judged_by_all(scored)
    two = _lines(kept, lambda row: TRAINED if row.source in trained else LEFT_OUT, seed)
    if len(two) < len((TRAINED, LEFT_OUT)):
        return []
    others = {name: [row for row in rows if row.source not in trained] for name, rows in kept.items()}
    return [
        *sorted(two, key=lambda line: line.name == LEFT_OUT),
        *_lines(others, lambda row: row.source, seed),
    ]


def _judged_by_all(scored: Mapping[str, Sequence[ScoredRow]]) -> dict[str, list[ScoredRow]]:
    failed = {row.id for rows in scored.values() for row in rows if row.failure is not None}
    return {name: [row for row in rows if row.id not in failed] for name, rows in scored.items()}


def _lines(
    kept: Mapping[str, Sequence[ScoredRow]], group: Callable[[ScoredRow], str], seed: int
) -> list[Line]:
    counts = Counter(map(group, kept[SYSTEMS[0]]))
    chosen = {
        one: {name: [row for row in rows if group(row) == one] for name, rows in kept.items()}
        for one in sorted(counts, key=lambda one: (-counts[one], one))
    }
    return [_line(one, members, seed) for one, members in chosen.items()]


def _line(name: str, scored: Mapping[str, Sequence[ScoredRow]], seed: int) -> Line:
    # The same name, the same draws: the systems are measured on the same rows drawn again.
    found = {system: estimates(rows, seed=seed, name=name, measures=SHOWN) for system, rows in scored.items()}
    return Line(name, len(scored[SYSTEMS[0]]), found)


def rendered(head: str, lines: Sequence[Line]) -> Iterator[str]:
    """A table for people."""
    wide = max(10, *(len(line.name) + 1 for line in lines))
    yield f"{'':{wide}}{'':>6}" + "".join(f"{system:^{2 * _WIDTH}}" for system in SYSTEMS)
    yield f"{head:{wide}}{'rows':>6}" + f"{'macro-F1':>{_WIDTH}}{'AUROC':>{_WIDTH}}" * len(SYSTEMS)
    for line in lines:
        cells = "".join(f"{_cell(line, system, name):>{_WIDTH}}" for system in SYSTEMS for name in SHOWN)
        yield f"{line.name:{wide}}{line.rows:>6,}{cells}"


def _cell(line: Line, system: str, name: str) -> str:
    found = line.measures[system].get(name)
    return shown(None if found is None else found.document())


def explained(found: Mapping[str, Any]) -> str:
    """What the adapter's explanations are like, in one line."""
    parts = {**found, **found["category"]}
    shares = [f"{said}: {parts[name]['right']} of {parts[name]['rows']}" for name, said in _EXPLAINED.items()]
    return f"adapter, {found['asked']} explanations: {'; '.join(shares)}"


def failures(scored: Mapping[str, Sequence[ScoredRow]]) -> list[str]:
    """What was not judged, if anything."""
    told = []
    for system, rows in comparable(scored).items():
        if not rows and scored[system]:
            told.append(
                f"{system}: {_failed(scored[system]):,} of {len(scored[system]):,} rows failed; it is not compared"
            )
        elif failed := _failed(rows):
            told.append(f"{system}: {failed:,} rows failed; they count for no system here")
    return told


def summary(whole: Line) -> str:
    """The line that sums up."""

    def of(system: str) -> str:
        found = whole.measures[system]
        values = [f"{found[name].value:.3f}" if name in found else "–" for name in SHOWN]
        return f"{system}: macro-F1 {values[0]}, AUROC {values[1]}"

    return "; ".join(map(of, SYSTEMS))


def used(rows_read: Labelled, data: Sequence[Path] | None, sample: int, seed: int) -> str:
    """Which data were judged."""
    where = (
        f"a stratified sample (at most {sample:,}, seed {seed}) of the dev rows in {', '.join(one.name for one in data)}"
        if data
        else "benchmarks/samples/dev-sample.jsonl, all of it"
    )
    return f"data: {len(rows_read.rows):,} rows, {where}; digest {rows_digest(rows_read.rows)[:19]}"


def _as_json(group: str, line: Line) -> dict[str, Any]:
    measures = {
        system: {name: one.document() for name, one in found.items()}
        for system, found in line.measures.items()
    }
    return {group: line.name, "rows": line.rows, **measures}


def _in_short(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a report keeps of an evaluation."""
    kept = ("rows", "failed", "measures", "severities", "over_blocking", "explanations")
    engine = document["judged"]["engine"]
    return {
        **{name: document[name] for name in kept},
        "sources": {
            name: {"rows": one["rows"], "measures": {each: one["measures"].get(each) for each in SHOWN}}
            for name, one in document["by"]["source"].items()
        },
        "engine": {name: engine[name] for name in ("model", "digest", "backend")},
    }


def write_report(
    folder: Path, told: Sequence[str], last: Sequence[str], document: Mapping[str, Any], adapter: Path
) -> None:
    """The same as files, and the adapter's plots."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        "# The shipped adapter, its base and the baseline",
        "Made by `make evaluate`. Brackets hold 95 % bootstrap intervals; AUROC is that of safe against the rest.",
        "```\n" + "\n".join(told).rstrip() + "\n```",
        *last,
        "## The adapter's curves",
    ]
    for name, said in PLOTS.items():
        shutil.copyfile(adapter / name, folder / f"evaluate-{name}")
        parts.append(f"![{said}](evaluate-{name})")
    write(folder, "evaluate", document, "\n\n".join(parts) + "\n")
