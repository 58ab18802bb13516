"""Plans: the exact commands, against the sheet and against what was read and accepted line by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from typer.testing import CliRunner

from conformance.sheet import load_sheet
from sluicegate.engines.build.commands import IMAGE, QUANTIZE, Host
from sluicegate.engines.build.plan import BuildPlan, Paths, lay_out, text_of
from sluicegate.engines.build.recipe import BuildRecipe
from sluicegate.engines.build.run import plan_build
from sluicegate.engines.build.shape import QWEN3GUARD_8B, ModelShape
from sluicegate.engines.errors import BuildError
from sluicegate.pipeline.command import app
from support.small_build import write_parts, write_recipe
from support.tiny_checkpoint import qwen3_config, write_tiny_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "examples" / "engine" / "h100-fp8.yaml"
GOLDEN = ROOT / "tests" / "golden" / "build"
LORA = {"max_rank": 16, "target_modules": ["attn_q"]}
BF16: dict[str, Any] = {"quantisation": "bf16", "calibration_data": None}

VARIANTS: dict[str, dict[str, Any]] = {
    "h100-fp8": {},
    "l40s-fp8": {"gpu": "L40S"},
    "a100-w4a16": {"gpu": "A100", "quantisation": "w4a16_awq"},
    "h100-fp8-pytorch": {"route": "pytorch"},
}


def example(name: str) -> BuildRecipe:
    plain = BuildRecipe.load(EXAMPLE).model_dump(exclude_defaults=True)
    return BuildRecipe.model_validate({**plain, **VARIANTS[name], "name": f"guard-{name}"})


def plan_of(recipe: BuildRecipe) -> BuildPlan:
    paths = Paths(Path("/builds") / recipe.name, Path("/bundles") / recipe.name)
    return lay_out(recipe, QWEN3GUARD_8B, "Qwen3Guard-Gen-8B", paths, host=Host("1000:1000", "0"))


def tools(plan: BuildPlan) -> dict[str, Sequence[str]]:
    """Command lines of TensorRT-LLM by stage, without what surrounds them."""
    found: dict[str, Sequence[str]] = {}
    for stage in plan.stages:
        if "trtllm-build" in stage.command:
            found[stage.name] = stage.command[stage.command.index("trtllm-build") :]
        elif QUANTIZE in stage.command:
            found[stage.name] = ("quantize.py", *stage.command[stage.command.index(QUANTIZE) + 1 :])
    return found


def option(command: Sequence[str], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_plan_is_as_it_was_accepted(name: str) -> None:
    accepted = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert text_of(plan_of(example(name))) == accepted


@pytest.mark.parametrize(
    "changes",
    [
        *VARIANTS.values(),
        BF16,
        {"adapter": None, "lora": LORA},
        {"container": False},
    ],
)
def test_every_flag_and_value_is_in_the_sheet(tmp_path: Path, changes: dict[str, Any]) -> None:
    plan = plan_of(write_recipe(tmp_path, **changes))
    commands = tools(plan)
    assert list(commands) == (["quantise"] if changes.get("route") == "pytorch" else ["quantise", "compile"])
    for command in commands.values():
        load_sheet().check_command(command)


@pytest.mark.parametrize("name", VARIANTS)
def test_each_command_reads_what_the_one_before_wrote(name: str) -> None:
    plan = plan_of(example(name))
    commands = tools(plan)
    assert option(commands["quantise"], "--model_dir") == str(plan.checkpoint)
    assert option(commands["quantise"], "--output_dir") == str(plan.paths.quantised)
    assert option(commands["quantise"], "--calib_dataset") == str(plan.paths.prompts)
    if "compile" in commands:
        assert option(commands["compile"], "--checkpoint_dir") == str(plan.paths.quantised)
        assert option(commands["compile"], "--output_dir") == str(plan.served)
    for stage in plan.stages[:-1]:
        if IMAGE in stage.command:
            assert f"type=bind,source={plan.paths.work},target={plan.paths.work}" in stage.command
            assert stage.output.is_relative_to(plan.paths.work)


def test_an_engine_is_built_for_what_serving_asks() -> None:
    recipe = example("h100-fp8")
    command = tools(plan_of(recipe))["compile"]
    for field, value in recipe.limits.model_dump(exclude={"max_prompt_tokens"}).items():
        assert option(command, f"--{field}") == str(value)
    assert "--gather_generation_logits" not in command  # asked for when it is loaded; the compiler only warns
    assert option(command, "--logits_dtype") == "float32"
    assert option(command, "--multiple_profiles") == "enable"
    assert option(command, "--use_paged_context_fmha") == "enable"


@pytest.mark.parametrize(("name", "plugin"), [("h100-fp8", False), ("a100-w4a16", True)])
def test_matrix_products_have_a_plugin_where_the_weights_are_not_fp8(name: str, plugin: bool) -> None:
    command = tools(plan_of(example(name)))["compile"]
    assert ("--gemm_plugin" in command) == plugin
    assert not plugin or option(command, "--gemm_plugin") == "auto"


def test_bf16_is_converted_for_an_engine_and_served_as_it_is_otherwise(tmp_path: Path) -> None:
    engine = plan_of(write_recipe(tmp_path, **BF16))
    assert [stage.name for stage in engine.stages] == ["inspect", "merge", "quantise", "compile", "bundle"]
    assert option(tools(engine)["quantise"], "--qformat") == "full_prec"
    served = plan_of(write_recipe(tmp_path, route="pytorch", **BF16))
    assert [stage.name for stage in served.stages] == ["inspect", "merge", "bundle"]
    assert served.served == served.paths.merged / "checkpoint"


def test_without_an_adapter_the_base_is_mounted_read_only(tmp_path: Path) -> None:
    plan = plan_of(write_recipe(tmp_path, adapter=None))
    (quantise,) = (stage for stage in plan.stages if stage.name == "quantise")
    base = tmp_path / "base"
    assert f"type=bind,source={base},target={base},readonly" in quantise.command
    assert option(tools(plan)["quantise"], "--model_dir") == str(base)


def test_inside_the_container_there_is_no_docker(tmp_path: Path) -> None:
    plan = plan_of(write_recipe(tmp_path, container=False))
    assert not any("docker" in stage.command for stage in plan.stages)
    assert plan.stages[-2].command[0] == "env"
    assert "CUDA_VISIBLE_DEVICES=0" in plan.stages[-2].command


def test_a_plan_as_json_has_what_its_text_has() -> None:
    plan = plan_of(example("h100-fp8"))
    document = orjson.loads(orjson.dumps(plan.document()))
    assert [tuple(stage["command"]) for stage in document["stages"]] == [s.command for s in plan.stages]
    assert document["estimated_disk_bytes"] == {"work": plan.work_bytes, "out": plan.out_bytes}
    assert {name for name in document if "minutes" in name or "bytes" in name or "tokens" in name} == {
        "estimated_minutes",
        "estimated_disk_bytes",
        "estimated_weight_bytes",
        "estimated_cached_tokens",
    }


def test_the_command_prints_the_plan_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["engine", "build", str(EXAMPLE), "--plan"]
    text = CliRunner().invoke(app, arguments)
    assert text.exit_code == 0
    assert "missing: base.checkpoint: /models/Qwen3Guard-Gen-8B\n" in text.output
    document = orjson.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert document["missing"][0] == "base.checkpoint: /models/Qwen3Guard-Gen-8B"
    assert document["stages"][-1]["writes"] == str(tmp_path / "guard-h100-fp8")
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_of_the_base_where_it_is_there(tmp_path: Path) -> None:
    write_parts(tmp_path)
    plan = plan_build(write_recipe(tmp_path), tmp_path / "w", tmp_path / "out")
    assert plan.missing == ()
    assert plan.shape.layers == qwen3_config()["num_hidden_layers"]
    assert plan.shape_from == str(tmp_path / "base" / "config.json")


def test_the_published_model_has_the_parameters_that_its_makers_give() -> None:
    assert QWEN3GUARD_8B.parameters == 8_190_735_360
    assert QWEN3GUARD_8B.kv_bytes == 147_456
    assert QWEN3GUARD_8B.weight_bytes("bf16") == 2 * 8_190_735_360
    linear = 36 * (4096 * 128 * 80 + 3 * 4096 * 12_288)
    assert QWEN3GUARD_8B.weight_bytes("fp8") == linear + 2 * (8_190_735_360 - linear)
    assert QWEN3GUARD_8B.weight_bytes("w4a16_awq") < QWEN3GUARD_8B.weight_bytes("fp8")


def large(**changes: Any) -> ModelShape:
    whole = ModelShape(80, 8192, 28_672, 64, 8, 128, 151_936, tied=False, positions=32_768)
    return replace(whole, **changes)


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        (large(), {}, r"gpu: 1\d\d\.\d GiB of weights do not fit a H100 of 80 GiB; take a larger GPU"),
        (
            large(layers=4, positions=1024),
            {},
            "limits.max_seq_len is 1700, the base was made for 1024; lower",
        ),
        (QWEN3GUARD_8B, {"base": {"checkpoint": "/a/vila", "layout": "vendor", "licence": "x"}}, "'vila'"),
        (QWEN3GUARD_8B, {"base": {"checkpoint": "/a,b", "layout": "vendor", "licence": "x"}}, "','.*rename"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    tmp_path: Path, shape: ModelShape, changes: dict[str, Any], message: str
) -> None:
    recipe = write_recipe(tmp_path, **changes)
    with pytest.raises(BuildError, match=message):
        lay_out(recipe, shape, "a test", Paths(Path("/w"), Path("/o")), host=Host("0:0", "0"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "is not of Qwen3ForCausalLM"),
        ({"hidden_size": "x"}, "is not as Qwen3 has it"),
        ({"num_hidden_layers": 10**9}, "is not as Qwen3 has it"),
    ],
)
def test_a_base_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_tiny_checkpoint(tmp_path / "base")
    (tmp_path / "base" / "config.json").write_bytes(orjson.dumps({**qwen3_config(), **change}))
    with pytest.raises(BuildError, match=message):
        plan_build(write_recipe(tmp_path), tmp_path / "w", tmp_path / "out")
