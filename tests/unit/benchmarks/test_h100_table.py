"""The simulated table: its arithmetic against `sluicegate engine size`, its inputs, and that it says what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from h100_table import study as h100_table
from h100_table.report import (
    ANCHORS,
    HIGH,
    LOW,
    NO_REUSE,
    REUSE,
    Load,
    Shape,
    break_even,
    cells,
    engine_seconds,
    page,
    pair,
)
from layouts.report import ALWAYS, ON_DEMAND, OURS, VENDOR
from layouts.texts import sampled
from sluicegate.engines.build import sizing

REPORTS = Path(__file__).resolve().parents[3] / "benchmarks" / "reports"
SHAPES = [Shape(VENDOR, 299, 201, 60), Shape(OURS, 27, 20, 60)]
LOAD = Load(forms=1.0, kept=0.8, explained=0.1, answer=6.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_on_demand_without_reuse_is_what_sizing_reckons(shape: Shape) -> None:
    demand = sizing.Demand(
        "H100",
        tokens_per_post=60,
        explained=LOAD.explained,
        static_tokens=int(shape.static),
        shared_tokens=int(shape.shared),
    )
    rate = sizing.rate_of(demand)
    assert 1 / engine_seconds(shape, LOAD, ON_DEMAND, HIGH) == pytest.approx(rate.posts_s)
    assert shape.computed == rate.computed_tokens


def test_always_reads_the_prompt_and_writes_the_answer_for_every_form() -> None:
    twice = replace(LOAD, forms=2.0)
    expected = 2 * 67 / LOW.prompt_tokens_s + 2 * 6 / LOW.output_tokens_s
    assert engine_seconds(SHAPES[1], twice, ALWAYS, LOW) == pytest.approx(expected)


def test_what_is_explained_is_paid_for_once_a_post() -> None:
    none, half = (replace(LOAD, explained=share, forms=2.0) for share in (0.0, 0.5))
    more = engine_seconds(SHAPES[0], half, ON_DEMAND, HIGH) - engine_seconds(SHAPES[0], none, ON_DEMAND, HIGH)
    demand = sizing.Demand("H100", tokens_per_post=60)
    assert more == pytest.approx(0.5 * sizing.rate_of(demand).explain_s)


def test_at_break_even_both_ways_cost_the_same() -> None:
    load = replace(LOAD, forms=1.1)
    even = break_even(load)
    shares = [replace(load, explained=one) for one in even["simulated_explained"]]
    answers = [replace(load, answer=one) for one in even["simulated_answer"]]
    for anchor in ANCHORS:
        for tried in (shares, answers):
            apart = [
                engine_seconds(SHAPES[1], one, ON_DEMAND, anchor)
                - engine_seconds(SHAPES[1], one, ALWAYS, anchor)
                for one in tried
            ]
            assert min(map(abs, apart)) < 1e-12


def test_what_is_compared_is_every_measured_lever_with_none() -> None:
    ours, theirs = pair(cells(SHAPES, LOAD))
    assert [ours[f"simulated_{name}"] for name in ("layout", "way", "step")] == [OURS, ON_DEMAND, REUSE]
    assert [theirs[f"simulated_{name}"] for name in ("layout", "way", "step")] == [VENDOR, ALWAYS, NO_REUSE]


def test_reuse_takes_its_share_off() -> None:
    found = {
        (one["simulated_layout"], one["simulated_way"], one["simulated_step"]): one["simulated_posts_s_high"]
        for one in cells(SHAPES, LOAD)
    }
    assert len(found) == 8
    for layout in (OURS, VENDOR):
        for way in (ON_DEMAND, ALWAYS):
            assert found[layout, way, REUSE] / found[layout, way, NO_REUSE] == pytest.approx(1 / 0.8)


def test_low_is_lower_than_high() -> None:
    for one in cells(SHAPES, LOAD):
        assert one["simulated_posts_s_low"] < one["simulated_posts_s_high"]


def report(load: Load) -> dict[str, Any]:
    return {
        "simulated": "no GPU was run",
        "simulated_by": "x",
        "simulated_again": sizing.AGAIN_TOKENS,
        "simulated_cells": cells(SHAPES, load),
        "simulated_break_even": break_even(load),
        "simulated_assumptions": [
            one.document()
            for one in h100_table.assumptions(SHAPES, load, lengths="5 posts", explained="10 %")
        ],
    }


def read_json(name: str) -> Any:
    return json.loads((REPORTS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("found", [report(LOAD), read_json("h100-simulated.json")])
def test_the_title_every_heading_and_every_key_say_simulated(found: dict[str, Any]) -> None:
    lines = page(found).splitlines()
    heads = [lines[number - 1] for number, line in enumerate(lines) if line.startswith("| ---")]
    titles = [line for line in lines if line.startswith("#")]
    assert len(heads) == 2
    assert all("simulated" in line.lower() for line in (*heads, *titles))
    assert all(name.startswith("simulated") for name in found)
    assert all(name.startswith("simulated") for one in found["simulated_cells"] for name in one)


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    assert (REPORTS / "h100-simulated.md").read_text(encoding="utf-8") == page(
        read_json("h100-simulated.json")
    )


def test_a_missing_report_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"layouts\.json: cannot be read .* benchmarks/layouts$"):
        h100_table.read(tmp_path, "layouts")


@pytest.mark.qwen_vocabulary
def test_shares_and_lengths_come_from_reports_and_vocabulary(qwen_ranks: bytes) -> None:
    assert qwen_ranks
    rows = sampled(None, 5, seed=1)
    shapes, tokenizer = h100_table.shapes_of(rows)
    assert {one.layout: (one.static, one.shared, one.cached) for one in shapes} == {
        VENDOR: (299, 201, 201),
        OURS: (27, 20, 20),
    }
    assert all(one.content > 1 for one in shapes)
    load = h100_table.load_of(REPORTS, [row for row in rows if row.severity == "safe"], tokenizer)
    assert load.answer == 6  # ` Safe`, line, `Categories`, `:`, ` None`, end
    near, evasion = read_json("near-duplicates.json"), read_json("evasion.json")
    assert load.forms == pytest.approx(1 + evasion["cost"]["folded_posts"] / evasion["posts"])
    assert load.forms * load.kept == pytest.approx(
        near["prompts"] / near["posts"] * (1 - near["rules"][0]["saved"])
    )


@pytest.mark.parametrize("severity", ["safe", "controversial", "unsafe"])
def test_an_answer_is_two_lines_with_the_labels_category(severity: str) -> None:
    row = sampled(None, 1, seed=1)[0].model_copy(update={"severity": severity, "categories": ()})
    head, categories = h100_table.answer_of(row).split("\n")
    assert head == f" {severity.capitalize()}"
    assert categories == f"Categories: {'None' if severity == 'safe' else 'Unethical Acts'}"
    named = row.model_copy(update={"categories": ("Violent", "PII")})
    assert h100_table.answer_of(named).endswith("Categories: Violent")


def test_what_the_vendor_documents_pays_for_no_folded_form_of_ours() -> None:
    folding = replace(LOAD, forms=1.5)
    anchor = ANCHORS[0]
    vendor, ours = SHAPES[0], SHAPES[1]
    assert engine_seconds(vendor, folding, ALWAYS, anchor) == engine_seconds(vendor, LOAD, ALWAYS, anchor)
    assert engine_seconds(vendor, folding, ON_DEMAND, anchor) > engine_seconds(
        vendor, LOAD, ON_DEMAND, anchor
    )
    assert engine_seconds(ours, folding, ALWAYS, anchor) > engine_seconds(ours, LOAD, ALWAYS, anchor)
