"""The shipped screen: whole, small, of permissive sources, and the one that the report is about."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sluicegate.engines.screen.model import Screen, answer_within
from sluicegate.schemas import Post

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "engines" / "assets" / "screens" / "permissive"
REPORT = json.loads((ROOT / "benchmarks" / "reports" / "screen-labels.json").read_bytes())
PERMISSIVE = {"MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-3.0"}


@pytest.fixture(scope="module")
def screen() -> Screen:
    return Screen.load(FOLDER)


def test_it_is_small_and_holds_two_files() -> None:
    files = [*FOLDER.iterdir()]
    assert {one.name for one in files} == {"manifest.json", "weights.safetensors"}
    assert sum(one.stat().st_size for one in files) < 2_000_000


def test_the_report_is_of_this_screen(screen: Screen) -> None:
    assert REPORT["digest"] == screen.digest
    assert REPORT["rows"] == screen.manifest.rows


def test_its_sources_are_permissive_and_named_on_the_card(screen: Screen) -> None:
    card = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8").replace("\\", "")
    for name, source in screen.manifest.sources.items():
        # Our own rows are under the project's licence.
        assert source.licence is None or source.licence.partition(" (")[0] in PERMISSIVE
        assert name in card
    assert "engines/assets/screens/permissive" in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_the_page_gives_the_figures_of_the_report() -> None:
    page = (ROOT / "docs" / "shortcuts.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (\w+), (\w+) \| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) % \|$", page, re.MULTILINE)
    assert len(lines) >= 4
    groups = {(one["kind"], one["language"]): one for one in REPORT["dev"]["groups"]}
    for kind, language, tolerance, answered, wrong in lines:
        points = {one["tolerance"]: one for one in groups[kind, language]["safe"]}
        point = points[float(tolerance)]
        assert f"{100 * point['share_answered']:.1f}" == answered
        assert f"{100 * point['share_wrong']:.1f}" == wrong
    smallest = min(float(tolerance) for _, _, tolerance, _, _ in lines)
    below = [one for one in REPORT["dev"]["all"]["safe"] if one["tolerance"] < smallest]
    assert all(one["answered"] == 0 for one in below)


def test_the_page_says_how_wrong_it_is_of_a_source_that_it_never_saw() -> None:
    page = " ".join((ROOT / "docs" / "shortcuts.md").read_text(encoding="utf-8").split())
    (found,) = [one for one in REPORT["unseen"] if one["source"] == "davidson"]
    point = {one["tolerance"]: one for one in found["safe"]}[0.01]
    said = f"{point['answered']} of {found['rows']:,} are called safe within 0.01, and {point['wrong']} of these are not"
    assert said in page


def test_the_page_says_how_many_harmful_look_alikes_it_calls_safe(screen: Screen) -> None:
    posts = [
        Post(id="p", text=pair[one], language=pair["language"])
        for path in sorted((ROOT / "benchmarks" / "pairs").glob("*.jsonl"))
        for pair in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        for one in ("first", "second")
        if pair[f"{one}_label"] != "safe"
    ]
    safe = [found for found in screen.answers(posts) if found is not None and found.severity == "safe"]
    page = " ".join((ROOT / "docs" / "shortcuts.md").read_text(encoding="utf-8").split())
    counts = [sum(answer_within(one, tolerance) for one in safe) for tolerance in (0.01, 0.02, 0.05, 0.1)]
    said = "{} within 0.01, {} within 0.02, {} within 0.05, {} within 0.1".format(*counts)
    assert f"Of the {len(posts)} harmful texts" in page
    assert said in page


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "What are you all cooking for dinner tonight? I am making soup."),
        ("de", "Wann macht morgen die Bücherei auf?"),
        ("ko", "오늘 저녁에 뭐 먹을까요?"),
    ],
)
def test_no_answer_is_within_half_a_percent(screen: Screen, language: str, text: str) -> None:
    (found,) = screen.answers([Post(id="p", text=text, language=language)])
    assert found is None or found.error > 0.005
