"""The comparison of adapter, base and baseline: its arithmetic, its lines, and the sample it falls back on."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from samples import draw

from baselines import SEVERITIES, Baseline
from evaluate import study as benchmark
from sluicegate.engines.adapt.evaluate.labelled_rows import Labelled, read_labelled
from sluicegate.engines.adapt.evaluate.measures import MEASURES, MeasuredRows
from sluicegate.engines.backends import EngineChoice, open_backend
from support.labelled import row, rows_of, sentence, write_lines
from support.scored import drawn, scored, sure, weights_of

if TYPE_CHECKING:
    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
SAMPLE = BENCHMARKS / "samples" / "dev-sample.jsonl"


def of_three(rows: list[ScoredRow]) -> dict[str, list[ScoredRow]]:
    return dict.fromkeys(("adapter", "base", "baseline"), rows)


def test_each_line_holds_the_measures_of_its_rows_and_the_last_those_of_all() -> None:
    german = [_renamed(one, f"d{one.id}") for one in drawn(30, seed=2, language="de")]
    rows = [*drawn(60, seed=1), *german]
    lines = benchmark.table(of_three(rows), seed=0)
    assert [(line.name, line.rows) for line in lines] == [("en", 60), ("de", 30), ("all", 90)]
    for line, members in zip(lines, (rows[:60], german, rows), strict=True):
        for name in ("macro_f1", "auroc_safe"):
            expected = float(MEASURES[name](MeasuredRows.of(members), weights_of(members))[0])
            assert line.measures["base"][name].value == pytest.approx(expected)


def _renamed(one: ScoredRow, name: str) -> ScoredRow:
    return scored(name, one.severity, one.probabilities, language=one.language)


def test_a_base_that_fails_on_many_rows_is_not_compared_and_takes_none_away() -> None:
    good = drawn(40, seed=1)
    failed = [scored(row.id, "safe", None) for row in good[:30]] + good[30:]
    systems = {"adapter": good, "base": failed, "baseline": good}
    whole = benchmark.table(benchmark.comparable(systems), seed=0)[-1]
    assert (whole.rows, whole.measures["base"]) == (40, {})
    assert "base: macro-F1 –" in benchmark.summary(whole)
    assert benchmark.failures(systems) == ["base: 30 of 40 rows failed; it is not compared"]


def test_a_row_that_one_system_failed_on_counts_for_none() -> None:
    good = [scored(f"r{at}", "safe", sure("safe")) for at in range(4)]
    failed = [*good[:3], scored("r3", "safe", None)]
    systems = {"adapter": failed, "base": good, "baseline": good}
    assert benchmark.table(systems, seed=0)[-1].rows == 3
    assert benchmark.failures(systems) == ["adapter: 1 rows failed; they count for no system here"]


def test_equal_systems_have_equal_intervals_since_they_are_measured_on_the_same_draws() -> None:
    line = benchmark.table(of_three(drawn(50, seed=1)), seed=0)[-1]
    assert line.measures["adapter"] == line.measures["base"] == line.measures["baseline"]


def test_the_line_that_sums_up_has_the_agreed_form() -> None:
    rows = [scored("a", "safe", sure("safe")), scored("b", "unsafe", sure("unsafe"))]
    (*_, whole) = benchmark.table(of_three(rows), seed=0)
    assert benchmark.summary(whole) == (
        "adapter: macro-F1 1.000, AUROC 1.000; base: macro-F1 1.000, AUROC 1.000; "
        "baseline: macro-F1 1.000, AUROC 1.000"
    )
    one_sided = benchmark.table(of_three(rows[:1]), seed=0)[-1]
    assert "adapter: macro-F1 1.000, AUROC –;" in benchmark.summary(one_sided)


def test_sources_that_may_not_train_are_shown_apart_and_only_where_there_are_both() -> None:
    ours = [scored(f"a{at}", "safe", sure("safe"), source="free") for at in range(3)]
    others = [scored(f"b{at}", "unsafe", sure("safe"), source=f"kept_{at // 3}") for at in range(4)]
    lines = benchmark.apart(of_three([*ours, *others]), {"free": {}}, seed=0)
    assert [(line.name, line.rows) for line in lines] == [
        ("trained on", 3),
        ("left out", 4),
        ("kept_0", 3),
        ("kept_1", 1),
    ]
    assert [line.measures["base"]["macro_f1"].value for line in lines] == [1.0, 0.0, 0.0, 0.0]
    assert benchmark.apart(of_three(ours), {"free": {}}, seed=0) == []
    assert benchmark.apart(of_three(others), {"free": {}}, seed=0) == []


def test_reasons_of_templates_and_of_our_own_rows_are_known_with_their_categories() -> None:
    rows = rows_of(
        {
            "text": sentence(at),
            "severity": "unsafe",
            "categories": ["Unethical Acts"],
            "source": "davidson",
            "source_labels": {"class": "hate"},
        }
        for at in range(5)
    )
    found = benchmark.known_reasons(Labelled(rows=rows, reasons={"Mine.": Counter(PII=2)}))
    assert found["Hateful towards a group."] == {"Unethical Acts": 5}
    assert found["Mine."] == {"PII": 2}
    assert found["Tells the model to drop its safety rules."] == {"Jailbreak": 1}


def test_it_runs_from_end_to_end_and_ends_with_the_sum_and_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = Baseline.fit([sentence(at) for at in range(30)], list(SEVERITIES) * 10, word_bits=8, character_bits=8, facts={"sources": {"free": {}}})  # fmt: skip
    monkeypatch.setattr(benchmark, "load_baseline", lambda: baseline)
    fake = open_backend(EngineChoice(backend="fake"))
    monkeypatch.setattr(benchmark, "open_backend", lambda _: fake)
    rows = [
        row(id=f"r{at}", text=sentence(at), severity=("safe", "unsafe")[at % 2], categories=[], split=("dev", "train")[at % 3 == 0], language="en")
        for at in range(40)
    ]  # fmt: skip
    write_lines(tmp_path / "mine" / "free.jsonl", rows)
    kept = row(id="kept", text=sentence(50), severity="unsafe", split="dev", language="pt")
    write_lines(tmp_path / "theirs" / "kept.jsonl", [kept])
    folders = [str(tmp_path / one) for one in ("mine", "theirs")]
    arguments = ["--sample", "12", "--out", str(tmp_path / "out"), "--data", *folders]
    assert benchmark.main([*arguments, "--report", str(tmp_path / "report")]) == 0
    said = capsys.readouterr().out
    *_, summed, data = said.strip().splitlines()
    assert summed.startswith("adapter: macro-F1 0.")
    assert data.startswith(
        "data: 12 rows, a stratified sample (at most 12, seed 0) of the dev rows in mine, theirs; digest"
    )
    report = json.loads((tmp_path / "report" / "evaluate.json").read_text())
    assert report["summary"] == summed
    assert report["languages"][-1]["rows"] == 12
    assert report["adapter"]["rows"] == report["base"]["rows"] == 12
    page = (tmp_path / "report" / "evaluate.md").read_text()
    assert summed in page
    for shown in re.findall(r"\]\((.*?)\)", page):
        assert (tmp_path / "report" / shown).read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in page + json.dumps(report)


def test_without_weights_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("baselines.tfidf.WEIGHTS", tmp_path / "none.npz")
    assert benchmark.main(["--out", str(tmp_path)]) == 1
    assert "write it again with benchmarks/baselines/train.py" in capsys.readouterr().err


def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "load_baseline", lambda: None)
    assert benchmark.main(["--data", str(tmp_path / "nowhere")]) == 1
    assert "is no file and no folder" in capsys.readouterr().err


def test_the_sample_is_read_whole_under_licences_that_allow_it_and_its_page_names_each_source() -> None:
    found = read_labelled([SAMPLE], split="dev")
    assert (found.faulty_rows, found.other_split_rows, found.repeated_rows) == (0, 0, 0)
    page = (SAMPLE.parent / "README.md").read_text()
    assert f"{len(found.rows)} rows" in page
    for (source, licence), count in Counter((one.source, one.licence) for one in found.rows).items():
        assert licence in draw.LICENCES
        assert source not in draw.LEFT_OUT
        assert f"| `{source}` | {count} | {licence} |" in page
    cells = Counter((one.language, one.severity) for one in found.rows)
    assert max(cells.values()) == draw.CELL_ROWS
    assert {one for (_, one), count in cells.items() if count <= draw.ONE_SIDED_ROWS} == {"unsafe"}


def test_the_sample_takes_what_may_be_taken_and_looks_at_no_text() -> None:
    rows = rows_of(
        {
            "text": sentence(at),
            "severity": ("safe", "controversial", "unsafe")[at % 3],
            "language": "en" if at < 300 else "it",
            "source": "constraint_covid" if at % 10 == 0 else "s",
            "licence": "MIT" if at % 7 else "CC-BY-4.0 (not confirmed)",
        }
        for at in range(600)
        if at < 300 or at % 3 == 2
    )
    chosen = draw.sample(rows)
    assert {(one.source, one.licence) for one in chosen} == {("s", "MIT")}
    assert Counter((one.language, one.severity) for one in chosen) == {
        ("en", "safe"): draw.CELL_ROWS,
        ("en", "controversial"): draw.CELL_ROWS,
        ("en", "unsafe"): draw.CELL_ROWS,
        ("it", "unsafe"): draw.ONE_SIDED_ROWS,
    }
    blank = [one.model_copy(update={"text": "x"}) for one in rows]
    assert [one.id for one in draw.sample(blank)] == [one.id for one in chosen]
