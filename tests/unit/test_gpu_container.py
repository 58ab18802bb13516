"""The container's facts, compared over a made-up folder: what agrees, and each planted mismatch by its row."""

from __future__ import annotations

import importlib.util
import json
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.sheet import load_sheet
from gpu import container

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
_FIELDS = 'PromptTokensDetails:\n    cached_tokens\nclass ResponseFormat:\n    "ebnf"\n    ebnf: str\n'
SOURCES = {
    "build.py": "a build flag is not required anymore",
    "serve.py": "",
    "result.py": "output.generation_logits = response_tensors.generation_logits[\n  src_idx, :output.length]\nrequest_perf_metrics",
    "llm.py": "prompt and max_tokens exceed max_seq_len",
    "llm_args.py": "    enable_partial_reuse: bool = Field(\n        default=True, description='x')",
    "openai_protocol.py": "prompt: Union[List[int], List[List[int]], str, List[str]]\nlogprobs is not supported\nclass "
    + _FIELDS,
    "openai_server.py": "async def health_generate(self):\n    ChatCompletionRequest(...)",
    "postprocess_handlers.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A container that is as the facts have it: made up, and nothing of TensorRT-LLM."""
    sheet = load_sheet()
    texts = dict(SOURCES)
    for part, (file, _) in container._SHEETS.items():
        if part in sheet.commands:
            texts[file] = "\n".join(f"  {flag} VALUE  what it does" for flag in sheet.commands[part].flags)
        else:
            takes = sheet.requests[part] if part in sheet.requests else sheet.classes[part].takes
            schema = {"additionalProperties": False, "properties": {name: {} for name in takes}}
            lines = "\n".join(f"    {name}: int" for name in takes)
            texts[file] = json.dumps(schema) if file.endswith(".json") else lines
    texts["sampling_params.py"] += "\nclass GuidedDecodingParams:\n    regex: str\n    grammar: str\n"
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_container_as_the_facts_have_it_contradicts_none(folder: Path) -> None:
    assert container.contradictions(folder) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "row"),
    [
        ("result.py", "src_idx, :output.length", "src_idx", "1.3"),
        ("trtllm-build.txt", "--logits_dtype", "--logits_type", "1.5"),
        ("result.py", "request_perf_metrics", "perf", "1.13"),
        ("sampling_params.py", "    return_perf_metrics:", "    perf_metrics:", "1.13"),
        ("sampling_params.py", "grammar: str", "", "1.14"),
        ("openai_protocol.py", "logprobs is not supported", "", "2.1"),
        ("ChatCompletionRequest.json", '"prompt_token_ids":', '"prompt_ids":', "2.1"),
        ("openai_server.py", "ChatCompletionRequest", "_logit_bias_vocab_size", "2.2"),
        ("openai_protocol.py", "List[List[int]]", "List[str]", "2.3"),
        ("openai_protocol.py", "cached_tokens", "cached", "2.5"),
        ("llm.py", "max_seq_len", "the context", "2.6"),
        ("CompletionRequest.json", '"lora_request":', '"lora":', "2.7"),
        ("openai_server.py", "ChatCompletionRequest", "CompletionRequest", "2.9"),
        ("openai_protocol.py", '"ebnf"', '"grammar"', "2.10"),
        ("TrtLlmArgs.json", "false", "true", "2.11"),
        ("trtllm-serve.txt", "--extra_llm_api_options", "--options", "2.12"),
        ("trtllm-serve.txt", "--num_postprocess_workers", "", "2.13"),
        ("quantize.py.txt", "--qformat", "--format", "3.2"),
        ("trtllm-build.txt", "--multiple_profiles", "--profiles", "3.5"),
        ("llm_args.py", "default=True", "default=False", "4.1"),
        ("TrtLlmArgs.json", '"kv_cache_config":', '"cache":', "1.1"),
        ("KvCacheConfig.json", '"free_gpu_memory_fraction":', '"fraction":', "1.15"),
        ("build.py", "not required anymore", "needed", "1.6"),
    ],
)
def test_a_planted_mismatch_is_told_as_the_row_it_contradicts(
    file: str, old: str, new: str, row: str, folder: Path
) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    found = container.contradictions(folder)
    assert row in {one.row for one in found}, found
    assert any(file in one.found for one in found)


def test_every_fact_is_planted_once_and_names_its_source() -> None:
    rows = {fact.row for fact in container.facts()}
    marks = test_a_planted_mismatch_is_told_as_the_row_it_contradicts.pytestmark  # type: ignore[attr-defined]  # pytest's
    assert rows <= {case[-1] for mark in marks for case in mark.args[1]}
    assert all(fact.source and (fact.has is None) != (fact.lacks is None) for fact in container.facts())


def test_a_file_that_could_not_be_written_is_no_agreement(folder: Path) -> None:
    (folder / "openai_protocol.py").unlink()
    found = [str(one) for one in container.contradictions(folder)]
    assert any("row 2.1" in line and "not checked" in line for line in found)


def test_what_the_container_holds_is_written_and_what_it_lacks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tensorrt_llm"
    for name in container.SOURCES[1:]:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("text", encoding="utf-8")
    tool = tmp_path / "trtllm-build"
    tool.write_text("#!/bin/sh\necho --logits_dtype\n", encoding="utf-8")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(
        container, "HELP", {"trtllm-build": ("trtllm-build", "--help"), "gone": ("no-such-tool",)}
    )
    monkeypatch.setattr(
        container,
        "SCHEMAS",
        {"LoraLimits": "sluicegate.engines.backends.trtllm.serving", "TrtLlmArgs": "no_such_module"},
    )
    missing = container.write(tmp_path / "out", package)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {Path(name).name for name in container.SOURCES[1:]} < written
    assert (tmp_path / "out" / "trtllm-build.txt").read_text() == "--logits_dtype\n"
    assert json.loads((tmp_path / "out" / "LoraLimits.json").read_text())["type"] == "object"
    assert [re.split("[:.]", line)[0] for line in missing] == ["commands/build", "TrtLlmArgs", "gone"]
    assert json.loads((tmp_path / "out" / "missing.json").read_text()) == missing


def test_without_the_container_one_sentence_says_how_to_enter_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[[str], None] = lambda _: None  # noqa: E731 - one line
    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(SystemExit, match=r"docs/engine\.md"):
        container.write(tmp_path / "out")
