"""Our calls agree with the sheet; and a call that does not is found, whatever is wrong with it."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from conformance import run, wheels
from conformance.sheet import load_sheet
from conformance.sites import BORDER, SERVING, sites_of
from conformance.walk import AGREES, Row, flag_rows, option_rows, rows, walk
from sluicegate.engines.backends import tensorrt_llm
from sluicegate.engines.backends.trtllm import in_flight

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Row]:
    return asyncio.run(walk(tmp_path_factory.mktemp("walk")))


def wrong(found: Sequence[Row]) -> list[Row]:
    return [row for row in found if not row.agrees]


def test_every_call_site_agrees(walked: Sequence[Row]) -> None:
    assert wrong(walked) == []
    places = {row.place.rpartition(":")[0].rpartition("/")[2] for row in walked}
    assert places == {"border.py", "serving.py", "commands.py", "trtllm.py", "openai.py"}


def test_every_site_that_the_source_has_is_in_the_report(walked: Sequence[Row]) -> None:
    reported = {row.place for row in walked}
    sites = sites_of(BORDER)
    assert len(sites) > 20
    assert [
        site
        for site in sites
        if not any(place.endswith(f"{site.path.name}:{site.line}") for place in reported)
    ] == []


BODIES = [Row("dialect.py", "score a prompt", "vLLM", AGREES)]


def test_the_report_ends_in_the_counts(walked: Sequence[Row]) -> None:
    lines = [*run.report(walked, BODIES)]
    sites = len(walked)
    assert lines[-1] == (
        "conformance: 1 of 1 bodies agree with vLLM 0.32.0 and SGLang 0.5.23 (executed), "
        f"{sites} of {sites} call sites with TensorRT-LLM 1.2.1 (read)"
    )
    assert all(line.endswith(AGREES) for line in lines[: sites + 1])


def test_what_was_not_checked_is_loud_and_counts_as_nothing(walked: Sequence[Row]) -> None:
    unchecked = [replace(BODIES[0], result="NOT CHECKED: no network")]
    lines = [*run.report(walked, unchecked, "no network")]
    assert lines[-2] == "!!! NOT CHECKED: 1 bodies against vLLM 0.32.0 and SGLang 0.5.23: no network !!!"
    assert "0 of 1 bodies agree with vLLM 0.32.0 and SGLang 0.5.23 (NOT CHECKED)" in lines[-1]


@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)])
def test_without_the_wheels_the_rest_is_compared_and_what_is_required_fails(
    required: str,
    code: int,
    walked: Sequence[Row],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def walk_as_before(folder: Path) -> Sequence[Row]:
        return walked

    def fetch() -> None:
        raise wheels.WheelsMissingError("pip could not download them: no network")

    monkeypatch.setattr(run, "walk", walk_as_before)
    monkeypatch.setattr(wheels, "fetch", fetch)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("REQUIRE_SERVERS", required)
    assert run.main() == code
    shown = capsys.readouterr().out
    assert "!!! NOT CHECKED: " in shown
    assert f"{len(walked)} of {len(walked)} call sites with TensorRT-LLM" in shown


def test_a_disagreement_is_the_exit_code(
    walked: Sequence[Row], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def walk_badly(folder: Path) -> list[Row]:
        return [replace(walked[0], result="LLM has no argument 'modle'"), *walked[1:]]

    monkeypatch.setattr(run, "walk", walk_badly)
    monkeypatch.setattr(wheels, "fetch", lambda: None)
    monkeypatch.setattr(run, "own_files", lambda: None)
    monkeypatch.setattr(run, "body_rows", lambda servers, reason: BODIES)
    assert run.main() == 1
    shown = capsys.readouterr().out
    assert "LLM has no argument 'modle'" in shown
    assert f"{len(walked) - 1} of {len(walked)} call sites" in shown


def changed_module(old: str, new: str, module: Path) -> ModuleType:
    """A module with one text of its source replaced by another of as many lines."""
    source = module.read_text(encoding="utf-8")
    assert source.count(old) >= 1
    assert old.count("\n") == new.count("\n")
    changed = ModuleType(f"sluicegate.engines.backends.trtllm.{module.stem}")
    with mock.patch.dict(sys.modules, {changed.__name__: changed}):  # dataclasses look themselves up
        exec(compile(source.replace(old, new), str(module), "exec"), changed.__dict__)  # noqa: S102 - our own source
    return changed


async def walk_with(
    old: str, new: str, folder: Path, monkeypatch: pytest.MonkeyPatch, module: Path = BORDER
) -> list[Row]:
    """Walk with a changed module."""
    changed = changed_module(old, new, module)
    for user in (tensorrt_llm, in_flight):
        for name in {"Llm", "UnreadableError", "load_library"} & {*vars(user)} & {*vars(changed)}:
            monkeypatch.setattr(user, name, getattr(changed, name))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # a coroutine that nobody awaits, where that is the fault
        found = await walk(folder)
        gc.collect()
    return wrong(found)


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        (
            "detokenize=False,\n                return_generation",
            "detokenise=False,\n                return_generation",
            "has no argument 'detokenise'",
        ),
        (
            "logprobs=_CANDIDATES",
            "logprobs='10'",
            "logprobs must be int | bool | None, not str",
        ),
        (
            "generate_async(list(token_ids), sampling)",
            "generate_async(tuple(token_ids), sampling)",
            "inputs must be",
        ),
        (
            "generate_async(list(token_ids), sampling)",
            "generate_async(list(token_ids), {})",
            "sampling_params must be",
        ),
        (
            "generate_async(list(token_ids), sampling)",
            "generate_async(list(token_ids), sampling, priority=1)",
            "'priority'",
        ),
        ("llm.generate_async(", "llm.generate_asynch(", "has no 'generate_asynch'"),
        ("await request.aresult()", "request.aresult()", "is read before the request was awaited"),
        ("await request.aresult()", "await request.aresult(timeout=1)", "has no argument 'timeout'"),
        ("request.abort()", "request.aborted()", "neither awaited nor aborted"),
        ("completion.generation_logits", "completion.logits", "CompletionOutput has no 'logits'"),
        ("entry.logprob)", "entry.logprobs)", "Logprob has no 'logprobs'"),
        ("llm.shutdown()", "llm.close()", "has no 'close'"),
        ("llm._check_health()", "llm.check_health()", "has no 'check_health'"),
        ("tokens_per_block=serving", "block_size=serving", "KvCacheConfig has no argument 'block_size'"),
        ("GuidedDecodingParams(regex=regex)", "GuidedDecodingParams(regex)", "takes 0 arguments by position"),
        (
            "gather_generation_logits=True,",
            "enable_chunked_prefill=0,",
            "enable_chunked_prefill must be bool",
        ),
        ("max_tokens=1, end_id", "max_tokens=1, top_p_min=0.1, end_id", "does not state its type"),
        ("return_generation_logits=True", "return_generation_logits=False", "generation_logits"),
        (
            "end_id=self._end_id,\n                detokenize=False,\n                return",
            "\n                detokenize=False,\n                return",
            "answers nothing",
        ),
    ],
)
async def test_a_wrong_call_is_found(
    old: str, new: str, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await walk_with(old, new, tmp_path, monkeypatch)
    assert [row for row in found if result in row.result], found


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        (
            "import GuidedDecodingParams,",
            "import GuidedDecoding as GuidedDecodingParams,",
            "has no GuidedDecoding",
        ),
        ("from tensorrt_llm._tensorrt_engine", "from tensorrt_llm._engine", "No module named"),
        ("from tensorrt_llm._tensorrt_engine import LLM", "from tensorrt_llm import LLM", "has no argument"),
    ],
)
async def test_a_wrong_import_is_found(
    old: str, new: str, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await walk_with(old, new, tmp_path, monkeypatch)
    assert found
    if result != "has no argument":  # the wrong one of two right classes: it does not load an engine
        assert [row for row in found if result in row.result], found


async def test_a_wrong_call_is_reported_at_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await walk_with("max_input_len=serving", "max_input=serving", tmp_path, monkeypatch)
    lines = {site.line for site in sites_of(BORDER) if site.entry == "LLM"}
    assert len(lines) == 2
    named = [row for row in found if "has no argument 'max_input'" in row.result]
    assert {row.place for row in named} >= {f"engines/backends/trtllm/border.py:{line}" for line in lines}


def test_a_site_that_nothing_passes_does_not_agree() -> None:
    sites = sites_of(BORDER, "def f(llm):\n    return llm.save('x')\n")
    (row,) = rows(sites, [], [])
    assert row.result == "not walked: nothing compared it"


@pytest.mark.parametrize(
    ("argv", "result"),
    [
        (["trtllm-serve", "serve", "x", "--max_batch", "4"], "has no flag --max_batch"),
        (["trtllm-serve", "x", "--backend", "trt"], "--backend must be"),
        (["trtllm-serve", "x", "--port", "http"], "--port must be int"),
        (["trtllm-serve", "x", "--tokenizer"], "--tokenizer needs a value"),
        (["trtllm-serve", "x", "--tokenizer", "--port", "1"], "--tokenizer must be"),
        (["trtllm-serve", "--port", "1"], "takes 1 arguments beside its flags, not 0"),
        (["trtllm-serve", "x", "--trust_remote_code=1"], "takes no value"),
        (["trtllm-builds", "--port", "1"], "no command trtllm-builds"),
        (["trtllm-build", "--use_paged_context_fmha", "yes"], "must be"),
        (["trtllm-build", "--max_seq_len", "9", "8"], "takes 0 arguments beside its flags, not 1"),
    ],
)
def test_a_wrong_command_line_is_found(argv: list[str], result: str) -> None:
    assert [row for row in wrong(flag_rows(SERVING, argv)) if result in row.result]


def test_a_right_command_line_is_not() -> None:
    argv = [
        "trtllm-build",
        "--checkpoint_dir",
        "a",
        "--output_dir=b",
        "--gather_generation_logits",
        "--lora_target_modules",
        "attn_q",
        "attn_v",
        "--max_seq_len",
        "9",
    ]
    found = flag_rows(SERVING, argv)
    assert len(found) == 5
    assert wrong(found) == []


def test_a_wrong_option_of_the_servers_file_is_found() -> None:
    found = option_rows(
        "LLM", {"batch": 1, "max_batch_size": "8", "kv_cache_config": {"dtype": "auto", "reuse": True}}
    )
    assert {row.entry: row.result for row in wrong(found)} == {
        "LLM.batch": "LLM has no argument 'batch'",
        "LLM.max_batch_size": "LLM.max_batch_size must be int | None, not str",
        "KvCacheConfig.reuse": "KvCacheConfig has no argument 'reuse'",
    }


def test_what_only_one_runtime_has_is_not_for_the_other() -> None:
    own = {
        name for name in load_sheet().classes["TrtLLM"].takes if name not in load_sheet().classes["LLM"].takes
    }
    assert "build_config" in own
    assert wrong(option_rows("LLM", {"fast_build": True}))
    assert not wrong(option_rows("TrtLLM", {"fast_build": True}))
