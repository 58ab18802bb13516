"""The rows of the shipped adapter: prepared public rows and our own, some with a reason by template.

    python benchmarks/shipped_adapter/rows.py --data labelled --out /tmp/shipped
    sluicegate adapt train benchmarks/shipped_adapter/recipe.yaml --data /tmp/shipped/prepared --out /tmp/shipped/adapter

Only sources under the licences below are taken. prepared/reasons.json says what the templates added.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.files import replace_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.report import options
from shipped_adapter.reasons import MARK, reason

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "examples" / "adapt" / "rows"
LICENCES = "MIT,Apache-2.0,CC-BY-4.0,CC-BY-3.0"


def inputs(data: Path, without: Sequence[str] = ()) -> list[Path]:
    """The files to prepare, in the order that decides between equal rows: public ones, then our own.

    Raises:
        SystemExit: There are none, or none of a source that should be left out.
    """
    public = sorted(data.glob("*.jsonl"))
    if not public:
        raise SystemExit(f"--data {data}: no .jsonl file is there; name the folder of the public sources")
    there = [path.stem for path in public]
    for name in without:
        if name not in there:
            raise SystemExit(f"--without {name}: no such source; there are {', '.join(there)}")
    return [*(path for path in public if path.stem not in without), *sorted(OWN.glob("*.jsonl"))]


def with_reason(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the templates' reason and a mark in its label basis; the same row where they have none."""
    sentence = reason(row)
    if sentence is None:
        return row
    return {**row, "reason": sentence, "label_basis": f"{row.get('label_basis', 'unknown')}; {MARK}"}


def add_reasons(train: Path) -> tuple[int, int]:
    """Put the templates' reasons into a file of prepared rows: how many rows it has, and how many got one.

    A second call adds nothing: a row that has a reason keeps it.
    """
    rows = [orjson.loads(line) for line in train.read_bytes().splitlines()]
    told = [with_reason(row) for row in rows]
    replace_file(train, b"".join(orjson.dumps(row) + b"\n" for row in told))
    return len(rows), sum(one is not other for one, other in zip(rows, told, strict=True))


def main(arguments: Sequence[str]) -> int:
    """Prepare, then add the templates' reasons to the training split."""
    parser = options(__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the public *.jsonl and their manifest"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument(
        "--without",
        default="",
        metavar="SOURCE,…",
        help="leave these sources out: a transfer test",
    )
    given = parser.parse_args(arguments)
    prepared = given.out / "prepared"
    command = [sys.executable, "-m", "sluicegate", "adapt", "prepare"]
    command += map(str, inputs(given.data, [one for one in given.without.split(",") if one]))
    done = subprocess.run(
        [*command, "--licence", LICENCES, "--mask-pii", "--out", str(prepared)], check=False
    )
    if done.returncode:
        return done.returncode  # it said why
    train = prepared / "train.jsonl"
    rows, added = add_reasons(train)
    told = {
        "train_rows": rows,
        "reasons_by_template": added,
        "train_sha256": hashlib.sha256(train.read_bytes()).hexdigest(),
        "note": "the data card has the hash of train.jsonl before the templates' reasons were added",
    }
    (prepared / "reasons.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"{rows:,} training rows, {added:,} of them with a reason by template")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
