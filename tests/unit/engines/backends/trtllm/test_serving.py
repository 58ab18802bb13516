from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.tensorrt_llm import explanation_regex
from sluicegate.engines.backends.trtllm.serving import Serving
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import BundleError
from sluicegate.engines.protocol import Explanation
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.schemas import CATEGORIES, Kind
from support.small_bundle import write_small_bundle
from support.trtllm_bundle import PADDED, small_serving, write_trtllm_bundle

if TYPE_CHECKING:
    from pathlib import Path

KINDS: tuple[Kind, ...] = ("post", "prompt", "response")


def read(place: Path, made_for: str = "engine", /, **changes: Any) -> Serving:
    return Serving.of(Bundle.open(write_trtllm_bundle(place, made_for, **changes)))


def test_what_the_build_wrote_is_read(tmp_path: Path) -> None:
    serving = read(tmp_path, lora={"max_rank": 16, "target_modules": ["attn_q"]})
    assert (serving.runtime, serving.folder, serving.vocab_size) == ("engine", "served", PADDED)
    assert serving.lora is not None
    assert serving.lora.max_adapters == 8


@pytest.mark.parametrize(
    ("runtime", "changes", "sentence"),
    [
        (
            "engine",
            {"tensorrt_llm": "1.2.0"},
            "tensorrt_llm is '1.2.0', and runtime is engine; known are 1.2.1, 1.3, 1.4",
        ),
        ("engine", {"tensorrt_llm": "1.3.0"}, "of which 1.2.1 alone runs engines"),
        ("engine", {"paged_context_fmha": False}, "paged_context_fmha"),
        ("engine", {"max_input_len": 527}, "max_input_len is 527, and prompts of 512 tokens need 528"),
        ("pytorch", {"max_seq_len": 591}, "max_seq_len is 591, and prompts of 512 tokens need 592"),
        ("pytorch", {"max_num_tokens": 527}, "max_num_tokens must be at least max_input_len"),
        ("pytorch", {"max_batch_size": 1025}, "max_batch_size must not exceed max_num_tokens"),
        ("pytorch", {"max_seq_len": 528}, "max_seq_len must exceed max_input_len"),
        ("pytorch", {"guided_decoding": True}, "guided_decoding needs tokenizer_folder"),
        ("pytorch", {"runtime": "onnx"}, "runtime: "),
        ("pytorch", {"free_gpu_memory_fraction": 1.5}, "free_gpu_memory_fraction: "),
        ("pytorch", {"host_cache_size": 1}, "host_cache_size: "),
        ("pytorch", {"folder": "../elsewhere"}, "folder: "),
        ("pytorch", {"folder": "a/../../elsewhere"}, "leads out of the bundle"),
        ("pytorch", {"folder": "nowhere"}, "nowhere holds no file"),
        ("pytorch", {"tokenizer_folder": "nowhere"}, "nowhere holds no file"),
        ("engine", {"lora": {"max_rank": 16, "target_modules": []}}, "lora.target_modules: "),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    runtime: str, changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError) as caught:
        read(tmp_path / "bundle", runtime, **changes)
    assert str(caught.value).startswith("serving.json: ")
    assert sentence in str(caught.value)


def test_what_a_build_says_of_gathered_logits_decides_nothing(tmp_path: Path) -> None:
    assert not read(tmp_path, "engine", gather_generation_logits=False).gather_generation_logits


def test_a_release_that_a_worker_cannot_load_is_for_a_server(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path, "pytorch", tensorrt_llm="1.3.0rc29")
    assert Serving.of(Bundle.open(bundle)).tensorrt_llm == "1.3.0rc29"
    with pytest.raises(
        BundleError, match=r"1\.2\.1 alone runs in process; serve the bundle with trtllm-serve"
    ):
        open_backend(EngineChoice("tensorrt_llm", bundle=bundle))


def test_a_prompt_limit_of_the_settings_is_what_must_fit(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path, "engine", max_input_len=144, max_seq_len=208)
    with pytest.raises(BundleError, match="max_input_len is 144"):
        open_backend(EngineChoice("tensorrt_llm", bundle=bundle))
    opened = open_backend(EngineChoice("tensorrt_llm", bundle=bundle, max_prompt_tokens=128))
    assert opened.engine.info.max_prompt_tokens == 128
    assert opened.engine.info.saturating_prompts == small_serving("engine")["max_batch_size"]


def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    bundle = Bundle.open(write_trtllm_bundle(tmp_path, "engine"))
    (tmp_path / "served" / "generation_config.json").write_text("{}")
    with pytest.raises(
        BundleError, match=r"served holds 1 files that the manifest does not list.*generation_config"
    ):
        Serving.of(bundle)


def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    write_trtllm_bundle(tmp_path, "engine")
    (tmp_path / "served" / "rank0.engine").write_bytes(b"no Engine")
    with pytest.raises(BundleError, match=r"served/rank0\.engine: files\.\w+\.sha256"):
        open_backend(EngineChoice("tensorrt_llm", bundle=tmp_path))


def test_a_bundle_for_another_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"files\.serving: missing"):
        open_backend(EngineChoice("tensorrt_llm", bundle=write_small_bundle(tmp_path)))


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(max_size=8), st.none() | st.integers(-(2**63), 2**63 - 1)).map(orjson.dumps)
)
def test_any_file_is_read_or_refused(raw: bytes) -> None:
    class Anywhere:
        name = "serving.json"

        def open(self, _: str) -> Any:
            return io.BytesIO(raw)

    with pytest.raises(BundleError):
        Serving._parse(Anywhere())  # type: ignore[arg-type]


def test_a_file_of_any_length_is_read_only_so_far(tmp_path: Path) -> None:
    path = tmp_path / "serving.json"
    path.write_bytes(b" " * 70_000)
    with pytest.raises(BundleError, match="larger than 65536 bytes"):
        Serving._parse(path)


NAMES = [*CATEGORIES, "Fraud (by phone)", "A.B+C", "a|b"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reasons", [False, True])
@given(data=st.data())
def test_whatever_the_guide_allows_the_parser_takes(kind: Kind, reasons: bool, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(explanation_regex(kind, NAMES, reasons=reasons), fullmatch=True))
    found = parse_explanation("\nCategories:" + text, kind, NAMES)
    names = text.partition("\n")[0].split(", ")
    if len(set(names)) <= 16:
        assert isinstance(found, Explanation)


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        ("post", " None", True),
        ("post", " Violent, PII", True),
        ("post", " Jailbreak\nReason: it tries to", True),
        ("post", " A.B+C", True),
        ("post", " AxBBC", False),
        ("post", " a", False),
        ("post", " None, PII", False),
        ("post", " PII\nRefusal: No", False),
        ("post", "Violent", False),
        ("response", " PII\nRefusal: Yes\nReason: none", True),
        ("response", " PII", False),
        ("response", " Jailbreak\nRefusal: No", False),
    ],
)
def test_the_guide_allows_the_shape_and_nothing_else(kind: Kind, text: str, allowed: bool) -> None:
    assert bool(re.fullmatch(explanation_regex(kind, NAMES), text)) == allowed
    assert isinstance(parse_explanation("\nCategories:" + text, kind, NAMES), Explanation) == allowed


@pytest.mark.parametrize("refusal", ["", "\nRefusal: Yes"])
def test_a_model_that_learnt_reasons_has_to_give_one_for_a_category(refusal: str) -> None:
    guide = explanation_regex("response" if refusal else "post", NAMES, reasons=True)
    assert re.fullmatch(guide, f" PII{refusal}\nReason: an address")
    assert not re.fullmatch(guide, f" PII{refusal}")
    assert re.fullmatch(guide, f" None{refusal}")
