"""What a recipe may say, and how it is told what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluicegate.engines.backends.trtllm import serving
from sluicegate.engines.build.recipe import FORCED_TOKENS, BuildRecipe
from sluicegate.engines.errors import BuildError
from support.small_build import write_recipe

EXAMPLES = Path(__file__).parents[4] / "examples" / "engine"

BF16 = {"quantisation": "bf16", "calibration_data": None}
AWQ = {"quantisation": "w4a16_awq"}
LORA = {"max_rank": 16, "target_modules": ["attn_q"]}
LIMITS = {"max_prompt_tokens": 1500, "max_input_len": 1600, "max_seq_len": 1700}


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(BuildError) as caught:
        write_recipe(folder, **changes)
    message = str(caught.value)
    assert message.startswith("recipe.yaml: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("changes", "field", "why", "fix"),
    [
        ({"gpu": "A100"}, "quantisation", "A100 is Ampere (8.0)", "use w4a16_awq"),
        ({"kv_cache": "fp8"}, "kv_cache", "(#2699)", "use bf16"),
        ({"kv_cache": "fp8"}, "kv_cache", "(#9298)", "use bf16"),
        ({"tensorrt_llm": "1.2.0"}, "tensorrt_llm", "corrupts reused prefixes (#12673", "use 1.2.1"),
        ({"tensorrt_llm": "1.3.0"}, "tensorrt_llm", "the last release that compiles", "use that"),
        ({"host_cache_size": 0}, "host_cache_size", "(#8274, #8813)", "remove it"),
        ({"reuse": False}, "reuse", "every prompt begins", "remove the field"),
        (
            {"gather_generation_logits": False},
            "gather_generation_logits",
            "when an engine is loaded",
            "remove",
        ),
        ({"paged_context_fmha": False}, "paged_context_fmha", "reuses no prefix", "remove"),
        ({"calibration_data": None}, "calibration_data", "your own posts", "name a file"),
        ({"quantisation": "bf16"}, "calibration_data", "bf16 is not calibrated", "remove it"),
        ({"adapter": {"folder": "x"}}, "adapter", "give gate", "override"),
        ({"lora": LORA}, "lora", "the base alone", "remove adapter or lora"),
        ({"lora": LORA, "adapter": None, **AWQ}, "lora", "4-bit", "merge the adapter"),
        (
            {"adapter": None, "lora": {**LORA, "target_modules": ["q_proj"]}},
            "lora",
            "target_modules has no q_proj",
            "there are attn_q",
        ),
        (
            {"adapter": None, "lora": {**LORA, "max_rank": 1024}},
            "lora.max_rank",
            "512",
            "docs/engine.md",
        ),
        ({"gpu": "B200"}, "gpu", "H100", "docs/engine.md"),
        ({"tokens_per_block": 33}, "tokens_per_block", "32", "docs/engine.md"),
        ({"max_beam_width": 2}, "max_beam_width", "not permitted", "docs/engine.md"),
        ({"name": "../x"}, "name", "pattern", "docs/engine.md"),
    ],
)
def test_what_is_known_to_go_wrong_is_refused_with_the_fix(
    tmp_path: Path, changes: dict[str, Any], field: str, why: str, fix: str
) -> None:
    message = refusal(tmp_path, **changes)
    assert field in message
    assert why in message
    assert fix in message


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"max_prompt_tokens": 1600},
            "limits: max_input_len is 1600, and prompts of 1600 tokens need 1616; lower max_prompt_tokens",
        ),
        ({"max_seq_len": 1579}, "max_seq_len is 1579, and prompts of 1500 tokens need 1580"),
        ({"max_input_len": 1700}, "max_seq_len must exceed max_input_len"),
        ({"max_num_tokens": 1599}, "max_num_tokens must be at least max_input_len"),
        ({"max_num_tokens": 1600, "max_batch_size": 1601}, "max_batch_size must not exceed"),
    ],
)
def test_limits_that_do_not_fit_each_other_are_refused(
    tmp_path: Path, limits: dict[str, int], message: str
) -> None:
    assert message in refusal(tmp_path, limits={**LIMITS, **limits})


def test_prompts_to_calibrate_on_are_no_longer_than_any_other(tmp_path: Path) -> None:
    data = {"posts": "posts.jsonl", "max_tokens": 1501}
    assert "calibration_data: max_tokens" in refusal(tmp_path, calibration_data=data)


def test_the_room_behind_a_prompt_is_the_one_that_a_worker_asks_for() -> None:
    assert FORCED_TOKENS == serving._FORCED_TOKENS


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu": "L40S"},
        {"gpu": "A100", **AWQ},
        {"gpu": "A100", **BF16},
        {"route": "pytorch"},
        {"adapter": None, "lora": LORA},
        {"adapter": {"folder": "x", "gate": "gate.json"}},
    ],
)
def test_what_is_known_to_work_is_taken(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert write_recipe(tmp_path, **changes)


def test_paths_are_taken_from_the_recipes_folder_and_kept_out_of_its_digest(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, two = write_recipe(tmp_path), write_recipe(tmp_path / "other")
    assert one.base.checkpoint == tmp_path / "base"
    assert two.calibration_data
    assert two.calibration_data.posts == tmp_path / "other" / "posts.jsonl"
    assert str(tmp_path) not in str(one.document())
    assert one.digest == two.digest
    assert write_recipe(tmp_path, tokens_per_block=64).digest != one.digest


def test_awq_is_calibrated_on_as_many_as_it_looks_at(tmp_path: Path) -> None:
    data = {"posts": "posts.jsonl", "count": 100}
    assert write_recipe(tmp_path, calibration_data=data).calibration_count == 100
    assert write_recipe(tmp_path, calibration_data=data, **AWQ).calibration_count == 32
    assert write_recipe(tmp_path, **BF16).calibration_count == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML (line 1)"),
        ("name: 2026-99-99", "is not YAML"),
        ("[" * 20_000, "is not YAML"),
        ("[]", "valid dictionary"),
        ("", "valid dictionary"),
        ("base: 3", "schema_version: Field required"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(BuildError) as caught:
        BuildRecipe.load(path)
    assert message in str(caught.value)
    assert "docs/engine.md" in str(caught.value)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"none\.yaml cannot be read .*; check the name"):
        BuildRecipe.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_recipe(path: Path) -> None:
    assert BuildRecipe.load(path).name == f"guard-{path.stem}"
