"""Does the gate refuse an adapter whose training data had the labels of one language flipped?

    python benchmarks/studies/spoiled_gate --prepared /tmp/shipped/prepared --adapter /tmp/shipped/adapter/best \\
        --trainer training/bin/sluicegate --work /tmp/spoiled

Begins with the weights of --adapter (its recipe is in the plan.json above it), trains a few steps more on rows of which
one language's say the opposite, judges the same dev rows by both, and asks `sluicegate adapt gate`. --control does the
same with right labels first: what the gate says of a training that only went on. --trainer is a sluicegate with the extra
`adapt`. Some ten minutes on one core, twenty with --control; the same command goes on where it was interrupted.
Exit code 1 if the gate lets the spoiled adapter pass, or does not name the language.
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

from shared.report import REPORTS, options, write
from sluicegate.engines.adapt.evaluate.labelled_rows import draw, read_labelled
from sluicegate.engines.adapt.gate.report import sentence
from sluicegate.engines.adapt.report import plain, table
from sluicegate.engines.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.schemas import Severity

SPOILED, CONTROL = "spoiled", "control"
LIMITS = {"always": {"well_formed_least": None}}
"""Explanations are slow here and not what is flipped: none is asked for. Everything else is as built in."""

_FLIPPED: dict[Severity, Severity] = {"safe": "unsafe", "controversial": "safe", "unsafe": "safe"}


@dataclass(frozen=True)
class Wanted:
    """What is done."""

    prepared: Path
    adapter: Path
    trainer: Path
    work: Path
    language: str
    train_rows: int
    judged_rows: int
    most_characters: int
    seed: int


def flipped(row: Row) -> Row:
    """The row with the opposite label, and nothing that would give it away."""
    changes = {"severity": _FLIPPED[row.severity], "categories": (), "reason": None, "label_basis": "flipped"}
    return row.model_copy(update=changes)


def chosen(rows: Iterable[Row], wanted: Wanted, count: int) -> list[Row]:
    """Half of the language, half of all others, and no long texts.

    Raises:
        SystemExit: There are not so many.
    """
    short = [row for row in rows if len(row.text) <= wanted.most_characters]
    own = [row for row in short if row.language == wanted.language]
    others = [row for row in short if row.language != wanted.language]
    if len(own) < count // 2 or len(others) < count - count // 2:
        raise SystemExit(
            f"spoiled_gate: {len(own)} short rows in {wanted.language} and {len(others)} in others, of {count} wanted in all; "
            "ask for fewer with --train-rows and --judged-rows"
        )
    return [
        *draw(own, count // 2, seed=wanted.seed),
        *draw(others, count - count // 2, seed=wanted.seed),
    ]


def recipe(plan: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """The recipe of the adapter's training, to go on from it with so many rows."""
    told: dict[str, Any] = plan["recipe"]
    return {
        **told,
        "data": {**told["data"], "planned_rows": wanted.train_rows, "balance": 1.0},
        "dev": {"rows": 0},
        "start_from": str(wanted.adapter.resolve()),
    }


def train(name: str, wanted: Wanted) -> Path:
    """Train an adapter, and give its folder."""
    rows = chosen(_rows(wanted.prepared / "train.jsonl"), wanted, wanted.train_rows)
    if name == SPOILED:
        rows = [flipped(row) if row.language == wanted.language else row for row in rows]
    data = wanted.work / name / "prepared"
    _write(data / "train.jsonl", rows)
    _write(data / "dev.jsonl", [])
    path = wanted.work / name / "recipe.yaml"
    plan = orjson.loads((wanted.adapter.parent / "plan.json").read_bytes())
    path.write_text(json.dumps(recipe(plan, wanted), indent=1))  # JSON is YAML
    out = wanted.work / name / "training"
    _run([wanted.trainer, "adapt", "train", path, "--data", data, "--out", out, "--threads", "1"])
    return out / "adapter"


def judge(name: str, adapter: Path, wanted: Wanted) -> Path:
    """Judge the rows by an adapter, and give the evaluation's folder."""
    rows = wanted.work / "judged.jsonl"
    _write(rows, chosen(_rows(wanted.prepared / "dev.jsonl"), wanted, wanted.judged_rows))
    out = wanted.work / f"evaluation-{name}"
    _run([wanted.trainer, "adapt", "evaluate", rows, "--out", out, "--checkpoint", adapter, "--threads", "1"])
    return out


def gate(name: str, new: Path, current: Path, wanted: Wanted) -> tuple[int, dict[str, Any]]:
    """Ask the gate: its exit code and its report."""
    limits, out = wanted.work / "limits.yaml", wanted.work / f"gate-{name}.json"
    limits.write_text(json.dumps(LIMITS))
    out.unlink(missing_ok=True)  # an earlier run's would be taken for this one's
    given: list[str | Path] = ["--new", new, "--current", current, "--limits", limits, "--out", out]
    done = _run([sys.executable, "-m", "sluicegate", "adapt", "gate", *given], allowed=(0, 1))
    if not out.exists():
        raise SystemExit("spoiled_gate: the gate could not compare the two; it said why")
    found: dict[str, Any] = json.loads(out.read_text())
    return done, found


def names_language(document: Mapping[str, Any], language: str) -> bool:
    """Whether a regression of this language is named."""
    return any(one["by"] == "language" and one["group"] == language for one in document["regressions"])


def page(document: Mapping[str, Any]) -> str:
    """The report for people."""
    language = document["language"]
    parts = [
        "# The gate and a spoiled adapter",
        (
            "Made by `python benchmarks/studies/spoiled_gate`. The CPU model's adapter was trained on for "
            f"{document['train_rows']:,} rows, half of them in `{language}`; the adapter before that is the current one. "
            f"Spoiled: every label in `{language}` was flipped, safe to unsafe and the others to safe. Both judged the same "
            f"{document['judged_rows']:,} dev rows, half of them in `{language}`, in torch. Limits: the built-in ones; "
            "explanations were not asked for."
        ),
    ]
    for name, one in document["gates"].items():
        said = "refused" if one["exit_code"] else "passed"
        parts += [
            f"## {name.capitalize()}: {said}, exit code {one['exit_code']}",
            "Regressions named:",
            "\n".join(f"- {plain(sentence(found))}" for found in one["regressions"]) or "none.",
            _languages(one["languages"]),
        ]
    return "\n\n".join(parts) + "\n"


def _languages(checks: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        (one["group"], one["rows"], one["current"], one["new"], f"{one['difference']:+.3f}", one["outcome"])
        for one in checks
    ]
    return table(("macro-F1 in", "rows", "current", "new", "difference", "outcome"), lines) if lines else ""


def told(code: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the report keeps of a gate's."""
    languages = [
        one
        for one in found["checks"]
        if one["by"] == "language" and one["what"] == "macro_f1" and one["difference"] is not None
    ]
    return {"exit_code": code, "regressions": found["regressions"], "languages": languages}


def _rows(path: Path) -> list[Row]:
    return read_labelled([path]).rows


def _write(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row.document()) + b"\n" for row in rows))


def _run(command: Sequence[str | Path], allowed: tuple[int, ...] = (0,)) -> int:
    """Run a step.

    Raises:
        SystemExit: It failed; it said why.
    """
    code = subprocess.run([str(part) for part in command], check=False).returncode
    if code not in allowed:
        raise SystemExit(f"spoiled_gate: {' '.join(str(part) for part in command[1:4])} … ended with {code}")
    return code


def main(arguments: Sequence[str]) -> int:
    """Train, judge, gate, report."""
    parser = options(__doc__)
    parser.add_argument("--prepared", type=Path, required=True, help="folder of `adapt prepare`")
    parser.add_argument("--adapter", type=Path, required=True, help="the current one: `best` of its training")
    parser.add_argument("--trainer", type=Path, required=True, help="a sluicegate with the extra `adapt`")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way")
    parser.add_argument("--language", default="zh", help="whose labels are flipped")
    parser.add_argument("--train-rows", type=int, default=480)
    parser.add_argument("--judged-rows", type=int, default=500)
    parser.add_argument("--most-characters", type=int, default=400, help="longer texts are left out")
    parser.add_argument("--control", action="store_true", help="the same with right labels, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=REPORTS, help="folder of the report")
    given = vars(parser.parse_args(arguments))
    out, names = given.pop("out"), [*([CONTROL] if given.pop("control") else []), SPOILED]
    wanted = Wanted(**given)
    started = time.monotonic()
    document: dict[str, Any] = {
        "command": "python benchmarks/studies/spoiled_gate",
        "language": wanted.language,
        "train_rows": wanted.train_rows,
        "judged_rows": wanted.judged_rows,
        "seed": wanted.seed,
        "limits": LIMITS,
        "gates": {},
    }
    try:
        current = judge("current", wanted.adapter, wanted)
        for name in names:
            code, found = gate(name, judge(name, train(name, wanted), wanted), current, wanted)
            document["gates"][name] = told(code, found)
            print(f"{name}: exit code {code}, {(time.monotonic() - started) / 60:.1f} min so far", flush=True)
    except EngineError as error:
        print(f"spoiled_gate: {error}", file=sys.stderr)
        return 1
    write(out, "spoiled-gate", document, page(document))
    refused = document["gates"][SPOILED]["exit_code"] == 1
    named = names_language(document["gates"][SPOILED], wanted.language)
    print(f"spoiled adapter: {'refused' if refused else 'LET PASS'}, language {'' if named else 'NOT '}named")
    return 0 if refused and named else 1
