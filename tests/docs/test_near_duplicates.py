"""The page and the ADR against the code, the pairs and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

from docs.pages import text
from sluicegate.pipeline.settings.sections import NearDuplicateSettings
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shortcuts import near_duplicates
from studies.near_duplicates.report import MOST_HARM, most_harm
from unit.pipeline.shortcuts.test_near_duplicates_attacks import TRIES

ROOT = Path(__file__).parents[2]
PAGE = text("shortcuts").partition("\n## Reuse near duplicates\n")[2].partition("\n## ")[0]
ADR = (ROOT / "docs" / "adr" / "0014-near-duplicates-by-a-reduced-form.md").read_text(encoding="utf-8")
REPORT = json.loads((ROOT / "benchmarks" / "reports" / "near-duplicates.json").read_text(encoding="utf-8"))


def test_the_settings_of_the_page_load_and_are_the_defaults_but_for_the_switch(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "settings.yaml"
    path.write_text(example, encoding="utf-8")
    assert load_settings(path).cache.near_duplicates == NearDuplicateSettings(enabled=True)
    assert not NearDuplicateSettings().enabled


def test_the_numbers_of_the_page_are_the_codes() -> None:
    assert (near_duplicates._MOST_CHARACTERS, near_duplicates._LONGER, near_duplicates._LEAST_LETTERS) == (
        4096,
        2,
        6,
    )
    assert (near_duplicates._RUN, near_duplicates._MOVE) == (5, 0.05)
    for said in (
        "4,096 characters, or twice as many",
        "fewer than six different",
        "five times in a row",
        "0.05 nearer",
    ):
        assert said in PAGE
    assert f"tries that in {len(TRIES)} ways" in PAGE


def test_the_figures_are_the_reports() -> None:
    assert (REPORT["posts"], REPORT["pairs"]) == (10_000, 341)
    for rule in REPORT["rules"]:
        row = f"| {rule['reused']['of']} | {100 * rule['saved']:.2f} % | {100 * rule['pairs']['hits'] / rule['pairs']['of']:.1f} % |"
        assert row in ADR or rule["rule"] == "MinHash 0.8, guarded"
        assert rule["reused"]["hits"] == 0
    shipped = REPORT["rules"][0]
    assert shipped["pairs"]["hits"] == 0
    assert f"{100 * shipped['saved']:.2f} % of the prompts" in PAGE


def test_what_the_model_found_is_told_and_the_default_follows_from_it() -> None:
    ends = most_harm(REPORT)
    assert set(ends) == {"the labels of the stream", "the pairs", "the engine on the stream"}
    for high in ends.values():
        assert f"{100 * high:.1f} %" in PAGE
        assert f"{100 * high:.1f} %" in ADR
    assert NearDuplicateSettings().enabled is (max(ends.values()) <= MOST_HARM)
    found = REPORT["engine"]["rules"][0]
    assert (found["judged"], found["harm"]["hits"]) == (REPORT["rules"][0]["reused"]["of"], 0)
    assert f"{found['unsure']} of the {found['judged']} were not sure enough" in " ".join(PAGE.split())
    assert f"the other {found['harm']['of']} led to the action" in " ".join(PAGE.split())
    assert f"{found['harm']['of']} of the {found['judged']} were sure enough" in ADR


def test_a_finding_is_said_to_last_from_when_it_was_learned() -> None:
    told = NearDuplicateSettings.model_fields["ttl_s"].description
    assert told is not None
    assert "after it was learned, from the engine or the exact cache" in told
    assert "`ttl_s` counts from when the finding was learned" in PAGE


def test_a_flood_that_the_rule_sees_through_costs_a_hundredth_at_most() -> None:
    assert {flood["copies"] for flood in REPORT["floods"]} == {10_000}
    shares = {flood["mutation"]: flood["prompts"] / flood["copies"] for flood in REPORT["floods"]}
    for mutation, share in shares.items():
        assert f"| {mutation} | {100 * share:.2f} % |" in PAGE
    assert max([*shares.values()][:3]) <= 0.01


def test_the_pairs_that_the_readme_counts_are_there() -> None:
    readme = (ROOT / "benchmarks" / "pairs" / "README.md").read_text(encoding="utf-8")
    lines = sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "benchmarks" / "pairs").glob("*.jsonl")
    )
    assert f"{lines} pairs" in readme
    changes = {name for name in REPORT["changes"] if f"`{name}`" not in readme}
    assert changes == set()
