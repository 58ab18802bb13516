"""An engine and its adapters, opened together."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.backends import EngineChoice, open_backend, open_backends
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.bundle.tokenizer import BundleTokenizer
from sluicegate.engines.errors import BundleError, EngineSetupError
from support.small_bundle import CONTROL, small_manifest, tokenizer_json, write_small_bundle
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from pathlib import Path


def on_a_server(bundle: Path, *, url: str = "http://127.0.0.1:9", **more: Any) -> EngineChoice:
    return EngineChoice("completions", bundle=bundle, url=url, **more)


def adapted(folder: Path, name: str) -> Path:
    """A bundle of the same base, with a digest of its own."""
    manifest = small_manifest()
    manifest["adapter"] = {"name": name, "digest": f"sha256:{'1' * 64}"}
    return write_small_bundle(folder / name, manifest)


def test_each_adapter_has_its_name_and_its_bundles_digest(tmp_path: Path) -> None:
    opened = open_backends(
        {
            None: on_a_server(write_small_bundle(tmp_path / "base")),
            "teens": on_a_server(adapted(tmp_path, "t1"), adapter="teens", model="t1", dialect="vllm"),
            "bank": on_a_server(adapted(tmp_path, "b1"), adapter="bank", url="http://127.0.0.1:10"),
        }
    )
    infos = {name: backend.engine.info for name, backend in opened.items()}
    assert {name: info.adapter for name, info in infos.items()} == {
        None: None,
        "teens": "teens",
        "bank": "bank",
    }
    assert len({info.digest for info in infos.values()}) == 3
    servers = [backend.server for backend in opened.values()]
    assert servers == ["http://127.0.0.1:9", "http://127.0.0.1:9", "http://127.0.0.1:10"]


@pytest.mark.parametrize(
    ("batch", "concurrency", "saturating", "most"),
    [
        (256, None, 256, 512),
        (4096, None, 4096, 4096),
        (256, 8, 256, 8),
        (256, 1000, 256, 1000),
        (None, None, 8, 8),
        (None, 64, 64, 64),
    ],
)
def test_a_server_gets_twice_what_its_bundle_says_of_one_step(
    batch: int | None, concurrency: int | None, saturating: int, most: int, tmp_path: Path
) -> None:
    limits = {} if batch is None else {"max_batch_size": batch, "max_num_tokens": 8192}
    bundle = (
        write_small_bundle(tmp_path) if batch is None else write_trtllm_bundle(tmp_path, "engine", **limits)
    )
    info = open_backend(on_a_server(bundle, dialect="trtllm", concurrency=concurrency)).engine.info
    assert (info.saturating_prompts, info.most_prompts) == (saturating, most)
    assert info.useful_prompts == min(saturating, most)


def test_what_a_bundle_says_of_its_server_is_checked(tmp_path: Path) -> None:
    bundle = write_trtllm_bundle(tmp_path, "engine", max_batch_size=0)
    with pytest.raises(BundleError, match=r"serving.json: max_batch_size"):
        open_backend(on_a_server(bundle))


def test_an_adapter_of_another_base_on_the_engines_server_is_refused(tmp_path: Path) -> None:
    manifest = small_manifest()
    tokenizer = BundleTokenizer(tokenizer_json(), {CONTROL[0]: 9_999})
    manifest["tokenizer"] = {"digest": tokenizer.digest, "control_tokens": {CONTROL[0]: 9_999}}
    other = write_small_bundle(tmp_path / "other", manifest)
    base = on_a_server(write_small_bundle(tmp_path / "base"))
    with pytest.raises(EngineSetupError, match=r"engine\.adapters\.teens: its bundle's tokenizer is sha256:"):
        open_backends({None: base, "teens": on_a_server(other, adapter="teens")})
    # A server or a process of its own has a base of its own.
    processes = {
        None: EngineChoice("llama_cpp", bundle=base.bundle),
        "teens": EngineChoice("llama_cpp", bundle=other),
    }
    assert {backend.server for backend in open_backends(processes).values()} == {None}
    open_backends({None: base, "teens": on_a_server(other, adapter="teens", url="http://127.0.0.1:10")})


def test_a_broken_bundle_is_named_with_its_adapter(tmp_path: Path) -> None:
    base = on_a_server(write_small_bundle(tmp_path / "base"))
    broken = adapted(tmp_path, "t1")
    (broken / "model.bin").write_bytes(b"NO weights")
    with pytest.raises(BundleError, match=r"^engine\.adapters\.teens: model\.bin: files\.model\.sha256"):
        open_backends({None: base, "teens": on_a_server(broken, adapter="teens")})


def test_two_adapters_of_one_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices: dict[str | None, EngineChoice] = {
        name: on_a_server(
            adapted(tmp_path, name), adapter=name, dialect="trtllm", model="base", lora_path=f"/{name}"
        )
        for name in ("teens", "bank")
    }
    all_choices: dict[str | None, EngineChoice] = {
        None: on_a_server(write_small_bundle(tmp_path / "base"), dialect="trtllm"),
        **choices,
    }
    open_backends(all_choices)
    same = open_backends(
        {**all_choices, "bank": choices["teens"]}
    )  # one adapter under two names is one adapter
    assert same["bank"].engine.info.digest == same["teens"].engine.info.digest
    monkeypatch.setattr("sluicegate.engines.backends.dialects.Lora.number_of", lambda _digest: 7)
    with pytest.raises(
        EngineSetupError, match=r"engine\.adapters\.bank and engine\.adapters\.teens: .* same number"
    ):
        open_backends(all_choices)


def test_one_number_for_two_folders_is_refused(tmp_path: Path) -> None:
    """Both have one bundle, copied by mistake: the server's cache would answer for the one that it met first."""
    bundle = adapted(tmp_path, "teens")
    choices: dict[str | None, EngineChoice] = {
        name: on_a_server(bundle, adapter=name, dialect="trtllm", model="base", lora_path=f"/{name}")
        for name in ("teens", "bank")
    }
    base = on_a_server(write_small_bundle(tmp_path / "base"), dialect="trtllm")
    with pytest.raises(
        EngineSetupError, match=r"bank and engine\.adapters\.teens: .*engine\.adapters\.bank\.bundle"
    ):
        open_backends({None: base, **choices})


@pytest.mark.parametrize(
    ("own", "teens", "bank", "said"),
    [
        ({"dialect": "vllm", "model": "guard"}, {"dialect": "vllm", "model": "guard"}, {}, r"teens and the engine: .*engine\.adapters\.teens\.model"),
        ({}, {"dialect": "vllm", "model": "t"}, {"dialect": "vllm", "model": "t"}, r"bank and engine\.adapters\.teens: .*engine\.adapters\.bank\.model"),
        ({"dialect": "sglang"}, {"dialect": "sglang", "lora_path": "t"}, {"dialect": "sglang", "lora_path": "t"}, r"bank and engine\.adapters\.teens: .*engine\.adapters\.bank\.lora_path"),
        ({}, {"url": "http://127.0.0.1:9/"}, {}, r"teens and the engine: .*engine\.adapters\.teens\.url"),
        ({}, {"dialect": "llama_cpp", "url": "http://h:1"}, {"dialect": "llama_cpp", "url": "http://h:1"}, r"bank and engine\.adapters\.teens: .*engine\.adapters\.bank\.url"),
    ],
)  # fmt: skip
def test_two_models_that_a_server_would_take_for_one_are_refused(
    tmp_path: Path, own: dict[str, Any], teens: dict[str, Any], bank: dict[str, Any], said: str
) -> None:
    choices: dict[str | None, EngineChoice] = {
        None: on_a_server(write_small_bundle(tmp_path / "base"), **own),
        "teens": on_a_server(adapted(tmp_path, "teens"), adapter="teens", **teens),
        "bank": on_a_server(adapted(tmp_path, "bank"), adapter="bank", **{"url": "http://h:2", **bank}),
    }
    if "url" not in bank and bank:
        choices["bank"] = on_a_server(adapted(tmp_path, "bank2"), adapter="bank", **bank)
    with pytest.raises(EngineSetupError, match=said):
        open_backends(choices)


def test_fakes_of_other_seeds_are_other_engines() -> None:
    opened = open_backends(
        {
            None: EngineChoice("fake"),
            "teens": EngineChoice("fake", adapter="teens", fake=FakeProfile(seed=1)),
            "bank": EngineChoice("fake", adapter="bank"),
        }
    )
    digests = [backend.engine.info.digest for backend in opened.values()]
    assert digests[0] == digests[2] != digests[1]


def test_a_draft_is_evaluated_and_not_served(tmp_path: Path) -> None:
    manifest = small_manifest()
    manifest["name"] = "guard-draft"
    draft = EngineChoice("llama_cpp", bundle=write_small_bundle(tmp_path / "draft", manifest))
    assert open_backend(draft)
    base = EngineChoice("llama_cpp", bundle=write_small_bundle(tmp_path / "base"))
    with pytest.raises(EngineSetupError, match=r"guard-draft is a draft, .*; export it with --gate"):
        open_backends({None: draft})
    with pytest.raises(EngineSetupError, match=r"^engine\.adapters\.bank: guard-draft is a draft"):
        open_backends({None: base, "bank": draft})


def test_a_bundle_that_asks_for_passages_gets_what_finds_them(tmp_path: Path) -> None:
    asks = write_small_bundle(tmp_path / "asks", {**small_manifest(), "passages": True})
    assert open_backend(on_a_server(asks)).passages is not None
    assert open_backend(on_a_server(write_small_bundle(tmp_path / "plain"))).passages is None


def test_without_the_library_a_bundle_that_asks_for_passages_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = write_small_bundle(tmp_path / "asks", {**small_manifest(), "passages": True})
    monkeypatch.setitem(sys.modules, "sluicegate.engines.text.passages", None)
    with pytest.raises(BundleError, match=r"passages.*sluicegate\[passages\]"):
        open_backend(on_a_server(asks))
