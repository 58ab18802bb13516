"""``sluicegate adapt prepare`` from end to end: files in, files out, what people and machines read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from sluicegate.engines.adapt.data.decisions import ConflictSettling
from sluicegate.engines.adapt.errors import PrepareError
from sluicegate.pipeline.command import app
from sluicegate.pipeline.command.adapt import prepare as adapt
from support.labelled import read_lines, row, sentence, write_lines
from support.small_bundle import write_small_bundle

FEEDBACK = Path(__file__).parents[3] / "golden" / "v1.0" / "feedback" / "minimal.json"
UNSEEN = "an unforgettable marzipan lighthouse"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["adapt", "prepare", *map(str, arguments)])


def refusal(result: Result) -> str:
    assert isinstance(result.exception, PrepareError)
    return str(result.exception)


def sample(folder: Path) -> Path:
    """A folder with every form that is taken, and one faulty row in each."""
    plain: list[dict[str, Any]] = [
        row(text=f"{sentence(at)} {sentence(at + 700)}", language="en") for at in range(40)
    ]
    plain += [row(text="The library opens at nine.", severity="unsafe", categories=["Scam"])]
    write_lines(folder / "plain.jsonl", [*plain, plain[3], row(text=UNSEEN, severity=UNSEEN)])
    (folder / "table.csv").write_text(
        "text,severity,categories,language\n"
        f'"Two, with a comma",safe,,en\nMail me: jane@example.org,unsafe,PII;Violent,en\n{UNSEEN},safe,PII,en\n'
    )
    chinese = [
        {
            "instruction": "判断",
            "input": "这个基金保本、年化25%稳赚不赔",
            "output": "风险等级：不安全 理由：承诺保本 类型：金融欺诈",
        },
        {"instruction": "判断", "input": "今天天气很好", "output": "风险等级:安全,理由:无,类型:无"},
        {"instruction": "判断", "input": UNSEEN, "output": UNSEEN},
    ]
    write_lines(folder / "chinese.jsonl", chinese)
    correction = json.loads(FEEDBACK.read_text())
    correction["post"]["text"] = "The library opens at nine."
    write_lines(folder / "feedback.jsonl", [correction, {**correction, "blind": UNSEEN}])
    return folder


MAPPED = (
    "--map-category",
    "Scam=Non-violent Illegal Acts",
    "--map-category",
    "金融欺诈=Non-violent Illegal Acts",
)


def test_every_form_is_read_and_the_correction_wins(tmp_path: Path) -> None:
    result = run(sample(tmp_path / "in"), "--out", tmp_path / "out", *MAPPED, "--mask-pii")
    assert result.exit_code == 0, result.output
    assert "51 rows read from 4 files: 41 to train, 4 to dev" in result.stdout
    assert "left out: faulty 4, superseded 1, duplicate 1" in result.stdout
    assert "personal data: email 1 (masked)" in result.stdout
    assert "warning: 45 rows: below 5,000" in result.stdout
    rows = [*read_lines(tmp_path / "out" / "train.jsonl"), *read_lines(tmp_path / "out" / "dev.jsonl")]
    by_text = {one["text"]: one for one in rows}
    assert by_text["The library opens at nine."]["severity"] == "safe"
    assert by_text["The library opens at nine."]["source"] == "feedback"
    assert by_text["Mail me: xxxx@xxxxxxx.xxx"]["categories"] == ["PII", "Violent"]
    fraud = by_text["这个基金保本、年化25%稳赚不赔"]
    assert (fraud["categories"], fraud["reason"]) == (["Non-violent Illegal Acts"], "承诺保本")
    card = json.loads((tmp_path / "out" / "data-card.json").read_text())
    assert card["fates"] | {"train": 41, "dev": 4, "superseded": 1, "duplicate": 1} == card["fates"]
    assert (tmp_path / "out" / "data-card.md").read_text().startswith("# Data card\n")


def test_faults_are_listed_with_file_and_line_up_to_a_bound(tmp_path: Path) -> None:
    folder = sample(tmp_path / "in")
    listed = run(folder, "--out", tmp_path / "a", *MAPPED).stderr.splitlines()
    assert [line.rpartition("/")[2].split(" ")[0] for line in listed] == [
        "chinese.jsonl:3:",
        "feedback.jsonl:2:",
        "plain.jsonl:43:",
        "table.csv:4:",
    ]
    assert listed[2].endswith("severity: none of the known values; write safe, controversial or unsafe")
    cut = run(folder, "--out", tmp_path / "b", *MAPPED, "--faults", "1").stderr.splitlines()
    assert cut == [listed[0], "and 3 more faults; --faults lists up to 1,000"]


def test_nothing_of_a_text_is_shown_unless_it_is_asked_for(tmp_path: Path) -> None:
    folder = sample(tmp_path / "in")
    quiet = run(folder, "--out", tmp_path / "a")
    as_json = run(folder, "--out", tmp_path / "b", "--json")
    for hidden in (UNSEEN, "金融欺诈", "jane@", "marzipan"):
        assert hidden not in quiet.output
        assert hidden not in as_json.output
        for name in ("data-card.json", "data-card.md"):
            assert hidden not in (tmp_path / "a" / name).read_text()
    shown = run(folder, "--out", tmp_path / "c", "--show-text").stderr
    assert f'(there stands "{UNSEEN}")' in shown
    assert '(there stands "金融欺诈")' in shown


def test_what_is_shown_cannot_drive_a_terminal(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", [row(), row(severity="\x1b[31mred\u202e")])
    shown = run(file, "--out", tmp_path / "out", "--show-text").stderr
    assert r'(there stands "\x1b[31mred\u202e")' in shown
    assert "\x1b" not in shown


def test_strict_writes_nothing_where_a_row_is_faulty(tmp_path: Path) -> None:
    result = run(sample(tmp_path / "in"), "--out", tmp_path / "out", *MAPPED, "--strict")
    assert (result.exit_code, refusal(result)) == (
        1,
        "4 faults and --strict: nothing was written; correct the rows",
    )
    assert len(result.stderr.splitlines()) == 4
    assert not (tmp_path / "out").exists()
    whole = write_lines(tmp_path / "whole" / "a.jsonl", [row()])
    assert run(whole, "--out", tmp_path / "out", "--strict").exit_code == 0


def test_json_is_the_card_and_nothing_else(tmp_path: Path) -> None:
    result = run(sample(tmp_path / "in"), "--out", tmp_path / "out", *MAPPED, "--json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "data-card.json").read_text())


def test_the_options_reach_the_decisions(tmp_path: Path) -> None:
    rows = [row(text=f"{sentence(at)} {sentence(at + 700)}", split="train") for at in range(50)]
    rows += [row(text="One text."), row(text="ONE text.", severity="unsafe", categories=["Own"])]
    file = write_lines(tmp_path / "in" / "a.jsonl", rows)
    result = run(
        file,
        *("--out", tmp_path / "out", "--json", "--resplit", "--dev-share", "0.5", "--seed", "7"),
        *("--conflicts", "keep-most-severe", "--near-conflicts", "drop", "--similarity", "0.9"),
        *("--kind", "prompt", "--language", "fr", "--extra-category", "Own"),
        *("--bundle", write_small_bundle(tmp_path / "bundle")),
    )
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert card["splits"] == {"dev_share": 0.5, "seed": 7, "given_splits": "forgotten"}
    assert (card["fates"]["dev"], card["fates"]["conflict"]) == (26, 1)
    assert card["conflicts"]["near_duplicates_settled_by"] == "drop"
    assert card["near_duplicates"]["similarity"] == 0.9
    assert list(card["balance"]["kind"]) == ["prompt"]
    assert list(card["balance"]["language"]) == ["fr"]
    assert list(card["balance"]["category"]) == ["Own"]
    assert card["compared_with_engine"]["max_prompt_tokens"] == 512
    refused = run(file, "--out", tmp_path / "other", "--licence", "MIT, CC0-1.0")
    assert "their licences are others" in refusal(refused)


def test_the_choices_of_the_command_are_those_of_the_code() -> None:
    assert [one.value for one in adapt.Settling] == [one.value for one in ConflictSettling]


def test_a_map_without_two_sides_is_refused(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", [row()])
    assert run(file, "--out", tmp_path / "out", "--map-category", "Scam").exit_code == 2
    assert "cannot be used" in refusal(run(file, "--out", tmp_path / "out", "--map-category", "Scam=Fraud"))


def test_earlier_results_stay_unless_they_may_go(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "in" / "a.jsonl", [row()])
    assert run(file, "--out", tmp_path / "out").exit_code == 0
    assert "--overwrite" in refusal(run(file, "--out", tmp_path / "out"))
    assert run(file, "--out", tmp_path / "out", "--overwrite").exit_code == 0


def test_a_library_that_is_missing_is_named_with_the_extra(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [row()])
    code = "import sys; sys.modules['rensa'] = None; from sluicegate.pipeline.command import main; main()"
    command = [sys.executable, "-c", code, "adapt", "prepare", "a.jsonl", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "sluicegate: rensa is missing: pip install 'sluicegate[prepare]'\n"


def test_a_fault_is_one_sentence_and_exit_code_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sluicegate", "adapt", "prepare", "absent.jsonl", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sluicegate: absent.jsonl is no file and no folder; check the name\n"


def test_the_card_keeps_the_command_that_was_typed(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [row()])
    command = [sys.executable, "-m", "sluicegate", "adapt", "prepare", "a.jsonl", "--out", "out"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    card = json.loads((tmp_path / "out" / "data-card.json").read_text())
    assert card["command"] == ["sluicegate", "adapt", "prepare", "a.jsonl", "--out", "out"]
