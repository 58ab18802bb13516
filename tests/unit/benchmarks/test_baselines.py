"""The baseline: what it learns, what its file keeps, and what its report says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baselines import SEVERITIES, Baseline, load_baseline, scored_by, train
from baselines.tfidf import CHARACTER_BITS, WEIGHTS, WORD_BITS
from shipped_adapter import rows as adapter_rows
from sluicegate.engines.adapt.evaluate import scored
from support.labelled import row, rows_of, sentence, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT = Path(__file__).resolve().parents[3] / "benchmarks" / "reports" / "baseline.json"
MARKS = {"safe": "gardening", "controversial": "grumbling", "unsafe": "poisonous"}


def documents(count: int, start: int = 0) -> Iterator[dict[str, Any]]:
    for at in range(start, start + count):
        severity = SEVERITIES[at % 3]
        yield row(text=f"{sentence(at)} Rather {MARKS[severity]}.", severity=severity)


@cache
def fitted() -> Baseline:
    return fit()


def fit(**changed: Any) -> Baseline:
    rows = list(documents(90))
    return Baseline.fit(
        [one["text"] for one in rows],
        [one["severity"] for one in rows],
        **{"word_bits": 10, "character_bits": 12, **changed},
    )


def found(baseline: Baseline, texts: list[str]) -> list[str]:
    return [SEVERITIES[at] for at in baseline.probabilities(texts).argmax(axis=1)]


def test_the_order_of_severities_is_the_evaluations() -> None:
    assert SEVERITIES == scored.SEVERITIES


def test_it_learns_words_and_knows_them_in_new_texts() -> None:
    rows = list(documents(30, start=300))
    assert found(fitted(), [one["text"] for one in rows]) == [one["severity"] for one in rows]


def test_characters_alone_tell_texts_without_spaces() -> None:
    marks = {"safe": "今天天气很好", "controversial": "你真的很笨", "unsafe": "我要打断你的腿"}
    texts = [f"第{at}号：{marks[SEVERITIES[at % 3]]}" for at in range(60)]
    baseline = Baseline.fit(texts, [SEVERITIES[at % 3] for at in range(60)], word_bits=10, character_bits=14)
    assert found(baseline, ["他说：今天天气很好", "啊，你真的很笨", "小心，我要打断你的腿"]) == list(
        SEVERITIES
    )


def test_the_same_rows_give_the_same_weights() -> None:
    one, other = fitted(), fit()
    assert (one.weights == other.weights).all()
    assert (one.idf == other.idf).all()


def test_a_feature_of_a_single_text_weighs_nothing() -> None:
    baseline = fitted()
    used = baseline.idf > 0
    assert 0 < used.sum() < len(used)
    assert np.abs(baseline.weights[~used]).max() < 1e-9


def test_probabilities_are_three_that_make_one_also_of_nothing_and_of_an_unknown_text() -> None:
    baseline = fitted()
    three = baseline.probabilities(["", "𓀀𓀁", *(one["text"] for one in documents(3))])
    assert three.shape == (5, 3)
    assert three.min() > 0
    assert three.sum(axis=1) == pytest.approx(np.ones(5))
    assert baseline.probabilities([]).shape == (0, 3)


def test_a_severity_that_does_not_occur_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of all three"):
        Baseline.fit(["a", "b"], ["safe", "unsafe"])
    with pytest.raises(ValueError, match="as many severities as texts"):
        Baseline.fit(["a"], list(SEVERITIES))


def test_what_is_read_again_finds_the_same(tmp_path: Path) -> None:
    baseline = fit(facts={"rows": 90, "sources": {"made": {"licence": "MIT", "rows": 90}}})
    path = tmp_path / "weights.npz"
    baseline.save(path)
    again = Baseline.load(path)
    assert again.facts == baseline.facts
    texts = [one["text"] for one in documents(60, start=300)]
    apart = np.abs(again.probabilities(texts) - baseline.probabilities(texts))
    assert apart.max() < 0.02  # eight bits a weight
    assert found(again, texts) == found(baseline, texts)


def spoiled(path: Path, **changed: Any) -> None:
    with np.load(path) as kept:
        arrays = dict(kept)
    np.savez(path, **{**arrays, **changed})


def test_a_file_that_is_no_baseline_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    facts = {"format": 1, "word_bits": 10, "character_bits": 12}
    spoils: list[dict[str, Any]] = [
        {"facts": np.array("no JSON")},
        {"facts": np.array(json.dumps({**facts, "format": 2}))},
        {"facts": np.array(json.dumps({**facts, "word_bits": 11}))},
        {"facts": np.array("[]")},
        {"weights": np.zeros((5, 3), dtype=np.int8)},
        {"idf": np.array([{}], dtype=object)},  # would need pickle
    ]
    for changed in spoils:
        fitted().save(path)
        spoiled(path, **changed)
        with pytest.raises(ValueError, match="holds no baseline; write it again"):
            Baseline.load(path)
    for content in (b"", b"PK\x03\x04 cut off", b"plain text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="holds no baseline; write it again"):
            Baseline.load(path)
    with pytest.raises(ValueError, match="holds no baseline; write it again"):
        Baseline.load(tmp_path / "missing.npz")


def test_rows_become_scored_rows() -> None:
    rows = rows_of(documents(6))
    judged = scored_by(fitted(), rows)
    assert [(one.id, one.severity, one.found) for one in judged] == [
        (one.id, one.severity, one.severity) for one in rows
    ]


def test_training_writes_weights_and_a_report_of_both(tmp_path: Path) -> None:
    data, prepared = tmp_path / "data", tmp_path / "prepared"
    lines = [
        {**one, "split": "dev" if at % 4 == 0 else "train", "language": ("en", "de")[at % 2]}
        for at, one in enumerate({**one, "id": f"r{at}"} for at, one in enumerate(documents(80)))
    ]
    write_lines(data / "made.jsonl", lines)
    write_lines(prepared / "train.jsonl", [one for one in lines[:60] if one["split"] == "train"])
    write_lines(prepared / "dev.jsonl", [one for one in lines[:60] if one["split"] == "dev"])
    weights, out = tmp_path / "weights.npz", tmp_path / "reports"
    arguments = ["--data", data, "--prepared", prepared, "--weights", weights, "--out", out]
    assert train.main([str(one) for one in arguments]) == 0
    kept = Baseline.load(weights)
    assert (kept.facts["rows"], kept.word_bits, kept.character_bits) == (45, WORD_BITS, CHARACTER_BITS)
    document = json.loads((out / "baseline.json").read_text())
    systems = document["systems"]
    assert {name: one["rows"] for name, one in systems.items()} == {"permissive": 45, "all": 60}
    assert {name: one["rows"] for name, one in document["dev"].items()} == {
        "all_sources": 20,
        "permissive_sources": 15,
    }
    english = systems["all"]["dev"]["all_sources"]["en"]
    assert 0 <= english["accuracy"]["low"] <= english["accuracy"]["value"] <= english["accuracy"]["high"] <= 1
    page = (out / "baseline.md").read_text()
    assert page.count("| all | ") == 2
    assert str(tmp_path) not in page + json.dumps(document)


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the baseline's weights are not made yet")
def test_the_shipped_weights_are_of_sources_that_may_ship_and_as_their_report_says() -> None:
    baseline = load_baseline()
    allowed = adapter_rows.LICENCES.split(",")
    for source in baseline.facts["sources"].values():
        assert source["licence"].partition(" (")[0] in allowed
    assert WEIGHTS.stat().st_size < 3 << 20
    three = baseline.probabilities(["What time does the library open?", "你好"])
    assert three.sum(axis=1) == pytest.approx(np.ones(2))
    if REPORT.exists():
        told = json.loads(REPORT.read_text())["systems"]["permissive"]
        assert told["rows_digest"] == baseline.facts["rows_digest"]
