"""The weights that point to passages: the same rows give the same file, and it tells what it learnt from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

from dilution.weights import teaching, write  # noqa: E402 - benchmarks are no package

from sluicegate.engines.adapt.data.rows import Row  # noqa: E402 - the same
from sluicegate.engines.text.passage_weights import plain, read_folder  # noqa: E402 - the same

if TYPE_CHECKING:
    from sluicegate.schemas import Severity

SEVERITIES: tuple[Severity, ...] = ("safe", "controversial", "unsafe")
_WORDS = ("garden", "window", "river", "letter", "market", "winter", "bridge", "candle", "forest", "kitchen")
_TELLING = {"safe": "lovely thanks", "controversial": "perhaps doubtful", "unsafe": "filthy vermin"}


def row(at: int, severity: Severity, **fields: Any) -> Row:
    rng = np.random.default_rng(at)
    text = " ".join([*rng.choice(_WORDS, 5).tolist(), _TELLING[severity], *rng.choice(_WORDS, 4).tolist()])
    document = {"id": f"r{at}", "text": text, "severity": severity, "kind": "post", "language": "en"}
    return Row.model_validate(document | {"source": "own", "licence": "MIT"} | fields)


def rows(count: int) -> list[Row]:
    return [row(at, SEVERITIES[at % 3]) for at in range(count)]


def test_the_same_rows_give_the_same_file_and_it_knows_what_they_told(tmp_path: Path) -> None:
    first, again = (write(rows(300), tmp_path / name, most_features=5_000) for name in ("a", "b"))
    assert first == again
    manifest, linear = read_folder(tmp_path / "a")
    assert manifest == first
    found = linear.judged([plain("lovely thanks"), plain("filthy vermin")]).probabilities
    assert found[0].argmax() == 0
    assert found[1].argmax() == 2


def test_the_manifest_names_rows_and_sources(tmp_path: Path) -> None:
    given = [*rows(60), row(60, "safe", source="other", licence=None)]
    manifest = write(given, tmp_path, most_features=5_000)
    assert manifest.rows == 61
    assert {name: (one.licence, one.rows) for name, one in manifest.sources.items()} == {
        "other": (None, 1),
        "own": ("MIT", 60),
    }
    assert write(rows(60), tmp_path, most_features=5_000).data != manifest.data


def test_rows_that_tell_nothing_are_left_out() -> None:
    kept = rows(6)
    others = [
        row(7, "safe", language=None),
        row(8, "safe", context="Hello?"),
        row(9, "unsafe", language="de"),  # of German there is one severity alone
    ]
    assert teaching([*kept, *others]) == kept
