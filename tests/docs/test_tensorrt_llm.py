"""The page about TensorRT-LLM against the code: its table, its commands and its files are ours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import orjson
import yaml
from typer.testing import CliRunner

from conformance.walk import LORA
from docs.pages import text
from sluicegate.engines.backends.dialects import EXPLANATION_TOKENS, Lora, TrtllmChatDialect, Vocabulary
from sluicegate.engines.backends.trtllm.serving import CONFIG, Serving, plan_server
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.pipeline.command import app
from sluicegate.pipeline.settings.sections import EngineSettings
from support.trtllm_bundle import write_trtllm_bundle

ROOT = Path(__file__).parents[2]
PAGE = text("engine").partition("\n## Serve\n")[2].partition("\n## A shorter tail after the post\n")[0]
LIMITS = {"max_batch_size": 256, "max_num_tokens": 8192, "max_input_len": 2112, "max_seq_len": 2176}


def blocks(language: str) -> list[str]:
    found: list[tuple[str, str]] = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def test_the_table_names_every_field_of_serving_json_and_nothing_else() -> None:
    table = PAGE.split("### What a bundle says")[1].split("\n### ")[0]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)] == list(Serving.model_fields)
    assert f"room for {EXPLANATION_TOKENS + 16} tokens" in table


def test_the_settings_of_the_page_load() -> None:
    settings = EngineSettings.model_validate(yaml.safe_load(blocks("yaml")[0])["engine"])
    assert settings.backend == "tensorrt_llm"


def test_the_server_is_started_as_the_page_says(tmp_path: Path) -> None:
    bundle = Bundle.open(write_trtllm_bundle(tmp_path, "engine", tokenizer_folder="hf", **LIMITS))
    plan = plan_server(bundle, "trtllm-serve", port=8000, config=Path("/etc/trtllm"))
    (shown,) = blocks("text")
    places = {
        str(tmp_path / "served"): "/bundles/guard/served",
        str(tmp_path / "hf"): "/bundles/guard/tokenizer",
    }
    assert shlex.split(shown) == [places.get(word, word) for word in plan.command]
    assert yaml.safe_load(blocks("yaml")[1]) == yaml.safe_load(plan.files[CONFIG])


def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path / "bundle", "pytorch", lora=LORA)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        program, *words = shlex.split(line)
        if program == "make":
            assert words[0] in targets
            continue
        if "--live" in words:  # it asks a server: tests/unit/pipeline/command has it
            continue
        places = {"/bundles/guard": str(bundle), "/etc/trtllm": str(tmp_path / "etc")}
        result = CliRunner().invoke(app, [places.get(word, word) for word in words])
        assert (program, result.exit_code) == ("sluicegate", 0)
    assert [path.name for path in (tmp_path / "etc").iterdir()] == [CONFIG]


def test_the_adapter_of_a_request_is_named_as_the_page_says() -> None:
    (shown,) = blocks("json")
    vocabulary = Vocabulary({"safe": (1,), "controversial": (2,), "unsafe": (3,)}, {}, (), {})
    lora = Lora("teens", 1234, "/adapters/teens")
    body = TrtllmChatDialect(vocabulary, model="guard", lora=lora).score_request([[1]])
    assert orjson.loads(shown) == {"lora_request": body["lora_request"]}
