"""Plans of servers: what they say is what the bundle is, and the worker takes its part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.trtllm.serving import CONFIG, ServerPlan, plan_server
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import EngineSetupError
from sluicegate.pipeline.command import app
from sluicegate.pipeline.settings.sections import EngineSettings
from support.trtllm_bundle import write_trtllm_bundle

LORA = {"max_rank": 16, "target_modules": ["attn_q", "attn_v"], "max_adapters": 4}


def plan(
    folder: Path, runtime: str, server: Any = "trtllm-serve", *, metrics: bool = False, **changes: Any
) -> ServerPlan:
    bundle = Bundle.open(write_trtllm_bundle(folder, runtime, **changes))
    return plan_server(bundle, server, port=8123, config=Path("/etc/trtllm"), metrics=metrics)


def flag(planned: ServerPlan, name: str) -> str:
    return planned.command[planned.command.index(name) + 1]


def test_a_compiled_engine_is_served_as_it_was_built(tmp_path: Path) -> None:
    planned = plan(tmp_path, "engine", tokenizer_folder="hf")
    assert planned.command[:3] == ("trtllm-serve", "serve", str(tmp_path / "served"))
    assert flag(planned, "--backend") == "tensorrt"
    assert flag(planned, "--tokenizer") == str(tmp_path / "hf")
    assert flag(planned, "--max_seq_len") == "592"
    assert flag(planned, "--extra_llm_api_options") == f"/etc/trtllm/{CONFIG}"
    assert flag(planned, "--host") == "127.0.0.1"
    assert yaml.safe_load(planned.files[CONFIG]) == {
        "gather_generation_logits": True,
        "kv_cache_config": {"enable_block_reuse": True, "free_gpu_memory_fraction": 0.85},
    }


def test_a_checkpoint_is_served_by_the_pytorch_runtime_with_its_own_tokenizer(tmp_path: Path) -> None:
    planned = plan(tmp_path, "pytorch")
    assert flag(planned, "--backend") == "pytorch"
    assert flag(planned, "--tokenizer") == str(tmp_path / "served")
    assert yaml.safe_load(planned.files[CONFIG])["kv_cache_config"]["tokens_per_block"] == 32


def test_an_engine_without_a_tokenizer_cannot_be_served(tmp_path: Path) -> None:
    with pytest.raises(EngineSetupError, match="tokenizer_folder is missing"):
        plan(tmp_path, "engine")


def test_adapters_of_requests_are_made_room_for(tmp_path: Path) -> None:
    torch = yaml.safe_load(plan(tmp_path / "torch", "pytorch", lora=LORA).files[CONFIG])
    assert torch["lora_config"] == {
        "lora_target_modules": ["attn_q", "attn_v"],
        "max_lora_rank": 16,
        "max_loras": 4,
        "max_cpu_loras": 4,
    }
    engine = yaml.safe_load(
        plan(tmp_path / "engine", "engine", tokenizer_folder="hf", lora=LORA).files[CONFIG]
    )
    assert engine["enable_lora"] is True
    assert flag(plan(tmp_path / "vllm", "pytorch", "vllm", lora=LORA), "--max-lora-rank") == "16"
    assert flag(plan(tmp_path / "sglang", "pytorch", "sglang", lora=LORA), "--max-loras-per-batch") == "4"


@pytest.mark.parametrize(
    ("server", "dialect"), [("trtllm-serve", "trtllm_chat"), ("vllm", "vllm"), ("sglang", "sglang")]
)
def test_the_worker_takes_its_part(server: str, dialect: str, tmp_path: Path) -> None:
    planned = plan(tmp_path, "pytorch", server)
    settings = EngineSettings.model_validate(planned.settings)
    assert settings.backend == "completions"
    assert settings.dialect == dialect
    assert settings.url == "http://127.0.0.1:8123"
    assert flag(planned, "--port") == "8123"
    assert settings.digest == Bundle.open(tmp_path).digest
    info = open_backend(EngineChoice("completions", bundle=tmp_path, url=settings.url)).engine.info
    assert (settings.concurrency, info.most_prompts, info.saturating_prompts) == (None, 16, 8)
    if server != "trtllm-serve":
        assert flag(planned, "--served-model-name") == settings.model
    said = "no exact logits" if server == "trtllm-serve" else "scores are exact"
    assert any(said in note for note in planned.notes)


@pytest.mark.parametrize(("rank", "flagged"), [(1, "1"), (2, "8"), (16, "16"), (257, "320"), (512, "512")])
def test_a_rank_is_rounded_up_to_one_that_vllm_takes(rank: int, flagged: str, tmp_path: Path) -> None:
    planned = plan(tmp_path, "pytorch", "vllm", lora={**LORA, "max_rank": rank})
    assert flag(planned, "--max-lora-rank") == flagged


@pytest.mark.parametrize(
    ("server", "said"), [("vllm", "--enable-prompt-tokens-details"), ("sglang", "--enable-cache-report")]
)
def test_a_server_is_told_to_say_how_many_tokens_were_cached(server: str, said: str, tmp_path: Path) -> None:
    assert said in plan(tmp_path, "pytorch", server).command


def test_vllm_is_told_of_the_candidates_that_are_asked_for(tmp_path: Path) -> None:
    assert flag(plan(tmp_path, "pytorch", "vllm"), "--max-logprobs") == "20"


def test_a_server_has_metrics_only_if_it_is_to(tmp_path: Path) -> None:
    def planned(server: str, *, metrics: bool) -> ServerPlan:
        return plan(tmp_path / f"{server}-{metrics}", "pytorch", server, metrics=metrics)

    on = {server: planned(server, metrics=True) for server in ("vllm", "sglang", "trtllm-serve")}
    assert {server: one.metrics for server, one in on.items()} == {
        "vllm": "/metrics",
        "sglang": "/metrics",
        "trtllm-serve": "/prometheus/metrics",
    }
    assert "--enable-metrics" in on["sglang"].command
    assert yaml.safe_load(on["trtllm-serve"].files[CONFIG])["return_perf_metrics"] is True
    for server in on:
        off = planned(server, metrics=False)
        assert off.metrics == ""
        assert "--enable-metrics" not in off.command
        assert "return_perf_metrics" not in str(off.files)


def test_each_release_of_trtllm_serve_is_asked_at_the_endpoint_that_gives_scores(tmp_path: Path) -> None:
    bundle = Bundle.open(write_trtllm_bundle(tmp_path / "old", "pytorch"))
    newer = Bundle.open(write_trtllm_bundle(tmp_path / "new", "pytorch", tensorrt_llm="1.3.0rc29"))

    def dialect(of: Bundle, version: str | None = None) -> Any:
        planned = plan_server(of, "trtllm-serve", port=1, config=tmp_path, version=version)
        return planned.settings["dialect"]

    assert dialect(bundle) == "trtllm_chat"
    assert dialect(bundle, "1.4.0rc1") == "trtllm"
    assert dialect(newer) == "trtllm"
    with pytest.raises(
        EngineSetupError, match=r"trtllm-serve 1\.2\.0 is not known; give one of 1\.2\.1, 1\.3, 1\.4"
    ):
        dialect(bundle, "1.2.0")


def test_an_engine_is_not_served_by_a_release_that_runs_none(tmp_path: Path) -> None:
    bundle = Bundle.open(write_trtllm_bundle(tmp_path, "engine", tokenizer_folder="hf"))
    with pytest.raises(EngineSetupError, match=r"trtllm-serve 1\.3 serves checkpoints"):
        plan_server(bundle, "trtllm-serve", port=1, config=tmp_path, version="1.3.0rc29")


@pytest.mark.parametrize("runtime", ["engine", "pytorch"])
def test_guided_decoding_is_set_up_where_the_bundle_wants_it(runtime: str, tmp_path: Path) -> None:
    planned = plan(tmp_path, runtime, guided_decoding=True, tokenizer_folder="hf")
    assert yaml.safe_load(planned.files[CONFIG])["guided_decoding_backend"] == "xgrammar"


@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_a_compiled_engine_is_for_trtllm_serve_alone(server: str, tmp_path: Path) -> None:
    with pytest.raises(EngineSetupError, match=rf"runtime is engine, and {server} \S+ serves checkpoints"):
        plan(tmp_path, "engine", server, tokenizer_folder="hf")


def test_the_command_writes_the_file_and_shows_command_settings_and_limits(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path / "bundle", "engine", tokenizer_folder="hf")
    out = tmp_path / "etc" / "trtllm"
    result = CliRunner().invoke(app, ["engine", "serve-config", str(bundle), "--out", str(out)])
    assert result.exit_code == 0
    assert yaml.safe_load((out / CONFIG).read_text())["gather_generation_logits"] is True
    shown = yaml.safe_load(result.stdout.partition("# 2. ")[2].partition("\n")[2])
    assert EngineSettings.model_validate(shown["engine"]).bundle == bundle
    assert f"--extra_llm_api_options {out / CONFIG}" in result.stdout
    assert "# - no exact logits" in result.stdout


def test_the_command_speaks_json(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path / "bundle", "pytorch")
    arguments = ["engine", "serve-config", str(bundle), "--for", "vllm", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments)
    document = orjson.loads(result.stdout)
    assert document["command"][:2] == ["vllm", "serve"]
    assert document["files"] == {}
    assert document["metrics"] == ""
    assert EngineSettings.model_validate(document["settings"]["engine"]).dialect == "vllm"


def test_the_command_says_where_the_metrics_are(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path / "bundle", "pytorch")
    arguments = ["engine", "serve-config", str(bundle), "--out", str(tmp_path), "--metrics"]
    assert (
        "# Its metrics: http://127.0.0.1:8000/prometheus/metrics\n"
        in CliRunner().invoke(app, arguments).stdout
    )
    document = orjson.loads(CliRunner().invoke(app, [*arguments, "--for", "sglang", "--json"]).stdout)
    assert document["metrics"] == "http://127.0.0.1:8000/metrics"
