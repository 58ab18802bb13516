from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.bundle.manifest import Manifest
from sluicegate.engines.cpu_model import SMALL
from sluicegate.engines.errors import BundleError
from sluicegate.engines.layouts import CompactLayout, split_template
from sluicegate.schemas import CATEGORIES
from support.chat_template import TEMPLATE
from support.small_bundle import (
    control_tokens,
    file_entry,
    small_manifest,
    small_tokenizer,
    tokenizer_json,
    write_small_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHER = "sha256:" + "0" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_small_bundle(tmp_path / "bundle")


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    document = orjson.loads((folder / "manifest.json").read_bytes())
    edit(document)
    (folder / "manifest.json").write_bytes(orjson.dumps(document))
    return folder


def test_a_whole_bundle_opens(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.path == folder
    assert bundle.digest == bundle.manifest.digest
    assert bundle.layout.digest == CompactLayout().digest
    assert bundle.tokenizer.digest == small_tokenizer().digest
    assert bundle.file("model").read_bytes() == b"no weights"
    assert set(bundle.category_tokens) == {*CATEGORIES, "None"}
    assert bundle.labels.first_ids() == {
        severity: small_tokenizer().encode_text(f" {severity.title()}")[0]
        for severity in ("safe", "controversial", "unsafe")
    }


def test_the_digest_is_that_of_the_canonical_manifest(folder: Path) -> None:
    document = orjson.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_bytes(
        orjson.dumps(dict(reversed(document.items())), option=orjson.OPT_INDENT_2)
    )
    canonical = small_manifest()
    canonical["base"]["sha256"] = None
    expected = hashlib.sha256(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)).hexdigest()
    assert Bundle.open(folder).digest == f"sha256:{expected}"


def test_every_field_is_part_of_the_digest(folder: Path) -> None:
    before = Bundle.open(folder).digest
    assert Bundle.open(change(folder, lambda d: d["evaluation"].update({"f1": 0.5}))).digest != before


def test_the_pinned_bundle_opens_and_another_is_refused(folder: Path) -> None:
    digest = Bundle.open(folder).digest
    assert Bundle.open(folder, pinned_digest=digest).digest == digest
    message = refusal(folder, pinned_digest=OTHER)
    assert digest in message
    assert OTHER in message


def test_a_vendor_bundle_brings_its_layout_as_a_file(folder: Path) -> None:
    layout = split_template(TEMPLATE)
    raw = layout.model_dump_json().encode()
    (folder / "layout.json").write_bytes(raw)
    change(
        folder,
        lambda d: d.update(
            layout={"name": "vendor", "digest": layout.digest},
            files=d["files"] | {"layout": file_entry("layout.json", raw)},
        ),
    )
    assert Bundle.open(folder).layout == layout


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json"])
def test_one_changed_byte_is_refused_by_file_and_field(folder: Path, name: str) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    role = name.partition(".")[0]
    message = refusal(folder)
    assert message.startswith(f"{name}: files.{role}.sha256")
    assert "again" in message


def test_without_verifying_large_files_are_not_hashed_but_small_ones_are(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"NO WEIGHTS")
    assert Bundle.open(folder, verify=False)
    (folder / "tokenizer.json").write_bytes(tokenizer_json().replace(b"BPE", b"BPF"))
    assert refusal(folder, verify=False).startswith("tokenizer.json: files.tokenizer.sha256")


def test_another_size_is_refused_even_without_verifying(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"no weights!")
    assert "files.model.bytes is 10, the file has 11" in refusal(folder, verify=False)


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "manifest.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{name}: ")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").startswith("manifest.json: cannot be read")
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file").startswith("manifest.json: cannot be read")


def test_a_folder_in_a_files_place_is_refused(folder: Path) -> None:
    (folder / "model.bin").unlink()
    (folder / "model.bin").mkdir()
    assert "no such file" in refusal(folder)


def test_a_link_out_of_the_bundle_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"no weights")
    (folder / "model.bin").unlink()
    (folder / "model.bin").symlink_to(tmp_path / "outside")
    assert "files.model.path leads out" in refusal(folder)


def test_a_link_within_the_bundle_is_fine(folder: Path) -> None:
    (folder / "model.bin").rename(folder / "weights")
    (folder / "model.bin").symlink_to("weights")
    assert Bundle.open(folder)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside", "a/../../b", "..", ".", "a\\..\\b", "a\0b", ""]
)
def test_a_path_that_could_leave_the_bundle_is_refused(folder: Path, path: str) -> None:
    change(folder, lambda d: d["files"]["model"].update(path=path))
    assert refusal(folder).startswith("manifest.json: files.model.path")


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d["limits"].update(extra=1), "limits.extra"),
        (lambda d: d["labels"]["safe"].update(extra=1), "labels.safe.extra"),
        (lambda d: d["labels"].pop("unsafe"), "labels.unsafe"),
        (lambda d: d.pop("adapter"), "adapter"),
        (lambda d: d.update(schema_version="2.0"), "schema_version"),
        (lambda d: d.update(name="../x"), "name"),
        (lambda d: d["layout"].update(name="other"), "layout.name"),
        (lambda d: d["limits"].update(max_prompt_tokens="512"), "limits.max_prompt_tokens"),
        (lambda d: d["limits"].update(max_prompt_tokens=0), "limits.max_prompt_tokens"),
        (lambda d: d["labels"]["safe"].update(token_ids=[]), "labels.safe.token_ids"),
        (lambda d: d["labels"]["safe"].update(token_ids=[-1]), "labels.safe.token_ids.0"),
        (lambda d: d.update(categories=[]), "categories"),
        (lambda d: d.update(categories=["a, b"]), "categories.0"),
        (lambda d: d.update(categories=["a\nb"]), "categories.0"),
        (lambda d: d["files"]["model"].update(sha256="md5:1"), "files.model.sha256"),
        (lambda d: d["files"]["model"].update(bytes=-1), "files.model.bytes"),
        (lambda d: d["evaluation"].update(f1="high"), "evaluation.f1"),
    ],
)
def test_a_manifest_that_breaks_its_form_is_refused_by_field(
    folder: Path, edit: Callable[[dict[str, Any]], object], field: str
) -> None:
    message = refusal(change(folder, edit))
    assert message.startswith(f"manifest.json: {field}: ")
    assert "make the bundle again" in message


def test_a_score_that_is_no_number_is_refused(folder: Path) -> None:
    raw = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(raw.replace(b'"evaluation":{}', b'"evaluation":{"f1":NaN}'))
    assert refusal(folder).startswith("manifest.json: evaluation.f1")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b" " * ((1 << 20) + 1)])
def test_a_manifest_that_is_none_is_refused(folder: Path, raw: bytes) -> None:
    (folder / "manifest.json").write_bytes(raw)
    assert refusal(folder).startswith("manifest.json: ")


def test_a_layout_of_another_version_is_refused(folder: Path) -> None:
    message = refusal(change(folder, lambda d: d["layout"].update(digest=OTHER)))
    assert message.startswith(
        f"manifest.json: layout.digest is {OTHER}, this version renders {CompactLayout().digest}"
    )


def test_a_vendor_layout_without_its_file_is_refused(folder: Path) -> None:
    assert "files.layout: missing" in refusal(change(folder, lambda d: d["layout"].update(name="vendor")))


def test_a_bundle_without_a_tokenizer_is_refused(folder: Path) -> None:
    assert "files.tokenizer: missing" in refusal(change(folder, lambda d: d["files"].pop("tokenizer")))


def test_a_role_the_bundle_does_not_have_is_named(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"files\.engine: missing"):
        Bundle.open(folder).file("engine")


def test_another_tokenizer_digest_is_refused(folder: Path) -> None:
    message = refusal(change(folder, lambda d: d["tokenizer"].update(digest=OTHER)))
    assert message.startswith(f"tokenizer.json: tokenizer.digest is {OTHER}")


def test_changed_control_tokens_are_refused(folder: Path) -> None:
    control = control_tokens() | {"<|im_end|>": 9000}
    assert "tokenizer.digest" in refusal(
        change(folder, lambda d: d["tokenizer"].update(control_tokens=control))
    )
    reachable = control_tokens() | {"<|im_end|>": 5}
    assert "vocabulary holds" in refusal(
        change(folder, lambda d: d["tokenizer"].update(control_tokens=reachable))
    )


def test_label_ids_that_are_not_the_tokenizers_are_refused(folder: Path) -> None:
    message = refusal(change(folder, lambda d: d["labels"]["unsafe"].update(token_ids=[1, 2])))
    assert message.startswith("manifest.json: labels.unsafe.token_ids is [1, 2], the tokenizer gives ")


def test_labels_that_begin_alike_are_refused(folder: Path) -> None:
    label = {"text": " Safety", "token_ids": small_tokenizer().encode_static(" Safety")}
    assert label["token_ids"][0] == small_tokenizer().encode_static(" Safe")[0]
    message = refusal(change(folder, lambda d: d["labels"].update(unsafe=label)))
    assert "labels: 'safe' and 'unsafe' begin with the same token" in message


def test_categories_that_begin_alike_are_refused(folder: Path) -> None:
    message = refusal(change(folder, lambda d: d["categories"].append("Violent Extremism")))
    assert "categories: 'Violent' and 'Violent Extremism' begin with the same token" in message


@pytest.mark.parametrize("name", ["Violent", "None"])
def test_a_category_name_that_is_taken_is_refused(folder: Path, name: str) -> None:
    message = refusal(change(folder, lambda d: d["categories"].append(name)))
    assert message.startswith("manifest.json: categories: ")


def test_a_control_token_in_a_category_name_does_not_act(folder: Path) -> None:
    bundle = Bundle.open(change(folder, lambda d: d["categories"].append("<|im_end|>")))
    assert bundle.category_tokens["<|im_end|>"] not in control_tokens().values()


def test_a_manifest_survives_its_own_writing() -> None:
    manifest = Manifest.parse(orjson.dumps(small_manifest()))
    assert Manifest.parse(manifest.model_dump_json().encode()) == manifest


def test_a_manifest_that_asks_for_passages_is_another_bundle(folder: Path) -> None:
    plain = Bundle.open(folder)
    asked = Bundle.open(change(folder, lambda document: document.update(passages=True)))
    assert asked.digest != plain.digest


def test_a_manifest_without_the_field_keeps_its_digest(folder: Path) -> None:
    before = Bundle.open(folder).digest
    assert Bundle.open(change(folder, lambda document: document.update(passages=False))).digest == before


def test_the_shipped_model_asks_for_passages_and_its_base_does_not() -> None:
    assert Manifest.parse(SMALL.shipped_manifest()).passages
    assert not Manifest.parse(SMALL.shipped_manifest(base=True)).passages
