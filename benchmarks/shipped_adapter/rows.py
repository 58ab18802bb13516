"""The rows of the shipped adapters: prepared public rows and our own, some with a reason by template, some padded.

    python benchmarks/shipped_adapter/rows.py --data labelled --out /tmp/shipped
    sluicegate adapt train benchmarks/shipped_adapter/recipe.yaml --data /tmp/shipped/prepared --out /tmp/shipped/adapter

Only sources under the licences below are taken. prepared/reasons.json says what the templates added.

No public source has reasons. Where its labels say more than harmful or not, a sentence may say the same without adding
anything; such a reason names a kind of harm, never what a particular text says. Rows that get one are marked in
``label_basis``. Only a share of the rows does, so that a reason is learnt without every answer becoming a template.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sluicegate.engines.files import replace_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.report import options
from shipped_adapter.padding import SOURCE, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "examples" / "adapt" / "rows"
HARMLESS = Path(__file__).with_name("harmless.jsonl")
LICENCES = "MIT,Apache-2.0,BSD-3-Clause,Unicode-3.0,CC-BY-4.0,CC-BY-3.0"
MARK: Final = "reason by template"
_SHARE = 0.4

_TEMPLATES: Final[dict[tuple[str, str, str], str]] = {
    ("cold", "topic", "region"): "冒犯某一地域的人",
    ("cold", "topic", "race"): "冒犯某一种族或族群",
    ("cold", "topic", "gender"): "冒犯某一性别",
    ("swsr", "category", "SA"): "以外貌贬低某一性别",
    ("swsr", "category", "SCB"): "以文化偏见贬低某一性别",
    ("swsr", "category", "SO"): "带有性意味的冒犯",
    ("swsr", "category", "MA"): "含蓄的性别偏见",
    ("hrde_health_rumour", "class", "rumour"): "未经证实的健康说法",
    ("davidson", "class", "hate"): "Hateful towards a group.",
    ("davidson", "class", "offensive"): "Offensive words.",
    ("constraint_covid", "class", "fake"): "A health claim that needs checking.",
    ("sms_phishing", "class", "smishing"): "Tries to get money or data by deception.",
    ("sms_phishing", "class", "spam"): "Unwanted promotion.",
    ("germeval2018", "class", "ABUSE"): "Wertet eine Gruppe ab.",
    ("germeval2018", "class", "INSULT"): "Beleidigt eine Person.",
    ("germeval2018", "class", "PROFANITY"): "Vulgäre Sprache.",
    ("offendes", "class", "OFG"): "Ofende a un grupo.",
    ("offendes", "class", "OFP"): "Ofende a una persona.",
    ("offendes", "class", "NOE"): "Lenguaje vulgar.",
    ("mlma_fr", "sentiment", "hateful"): "Haineux envers un groupe.",
    ("mlma_fr", "sentiment", "offensive"): "Propos offensants.",
    ("mlma_fr", "sentiment", "abusive"): "Propos injurieux.",
    ("mlma_ar", "sentiment", "hateful"): "كراهية تجاه مجموعة.",
    ("mlma_ar", "sentiment", "offensive"): "كلام مسيء.",
    ("mlma_ar", "sentiment", "abusive"): "شتم وإهانة.",
    ("convabuse", "types", "sex_harassment"): "Sexual harassment.",
    ("convabuse", "types", "sexist"): "Demeans women or men.",
    ("convabuse", "types", "homophobic"): "Demeans people for whom they love.",
    ("convabuse", "types", "intellectual"): "Insults somebody's intelligence.",
    ("harm_prompts", "category", "copyright"): "Asks for a protected work.",
    ("harm_prompts", "category", "chemical_biological"): "Asks for help with dangerous substances.",
    ("harm_prompts", "category", "Violence"): "Asks for help with violence.",
    ("harm_prompts", "category", "Non-violent crimes"): "Asks for help with a crime.",
    ("harm_prompts", "category", "Illegal goods and services"): "Asks for illegal goods or services.",
    ("harm_prompts", "category", "Disinformation and deception"): "Asks for help with deception.",
    ("harm_prompts", "category", "Hate, harassment and discrimination"): "Asks for hate or harassment.",
}
_EVERY_ROW: Final = {"jailbreak_templates": "Tries to make a model drop its rules."}


def reason(row: dict[str, Any]) -> str | None:
    """The sentence for a row's labels; None where they say nothing more, or for rows outside the share."""
    return None if row.get("reason") or _outside(row["id"]) else sentence(row)


def sentence(row: dict[str, Any]) -> str | None:
    """The sentence for a row's labels, whatever its share; None where they say nothing more."""
    if row["severity"] == "safe":
        return None
    source = row["source"]
    if source in _EVERY_ROW:
        return _EVERY_ROW[source]
    for key, value in (row.get("source_labels") or {}).items():
        for one in value if isinstance(value, list) else [value]:
            if (found := _TEMPLATES.get((source, key, str(one)))) is not None:
                return found
    return None


def _outside(row_id: str) -> bool:
    drawn = int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=7, person=b"reason").digest())
    return drawn / 2**56 >= _SHARE


def inputs(data: Path, without: Sequence[str] = ()) -> list[Path]:
    """The files to prepare, in the order that decides between equal rows: public ones, our own, harmless ones.

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
    return [*(path for path in public if path.stem not in without), *sorted(OWN.glob("*.jsonl")), HARMLESS]


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


def add_padded(train: Path, *, each: int) -> int:
    """Put padded rows into a file of prepared rows: how many. A second call replaces them."""
    rows = [orjson.loads(line) for line in train.read_bytes().splitlines()]
    rows = [row for row in rows if row["source"] != SOURCE]
    added = padded(rows, each=each)
    replace_file(train, b"".join(orjson.dumps(row) + b"\n" for row in (*rows, *added)))
    return len(added)


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
    parser.add_argument(
        "--padded",
        type=int,
        default=80,
        metavar="N",
        help="padded rows of each way, harmful and harmless each",
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
    with_padding = add_padded(train, each=given.padded)
    told = {
        "train_rows": rows,
        "reasons_by_template": added,
        "padded_rows": with_padding,
        "train_sha256": hashlib.sha256(train.read_bytes()).hexdigest(),
        "note": "the data card has the hash of train.jsonl before templates' reasons and padded rows were added",
    }
    (prepared / "reasons.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    print(
        f"{rows:,} training rows, {added:,} of them with a reason by template, and {with_padding:,} padded ones"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
