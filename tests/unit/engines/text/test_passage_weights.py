"""The folder: what does not fit is one sentence with the fix, and nothing in it runs."""

from __future__ import annotations

import io
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import save

from sluicegate.engines.errors import BundleError
from sluicegate.engines.text.passage_weights import MANIFEST, WEIGHTS, plain, read_folder
from support.small_weights import FRIENDLY, HOSTILE, arrays, write_weights

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[4]
SHIPPED = ROOT / "engines" / "assets" / "passages"
PERMISSIVE = {"MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-3.0"}
NINES = f"sha256:{'9' * 64}"


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = orjson.loads((folder / MANIFEST).read_bytes())
    change(document)
    (folder / MANIFEST).write_bytes(orjson.dumps(document))


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_folder(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith("; install Sluicegate again")
    return said


def test_a_whole_folder_is_read(tmp_path: Path) -> None:
    manifest, linear = read_folder(write_weights(tmp_path))
    assert manifest.rows == 1000
    friendly, hostile = linear.judged([plain(FRIENDLY), plain(HOSTILE)]).probabilities
    assert friendly.argmax() == 0
    assert hostile.argmax() == 2


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "no")


def test_missing_weights_are_told(tmp_path: Path) -> None:
    (write_weights(tmp_path) / WEIGHTS).unlink()
    assert f"{WEIGHTS}: no such file" in refused(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (write_weights(tmp_path) / WEIGHTS).unlink()
    os.mkfifo(tmp_path / WEIGHTS)
    assert f"{WEIGHTS}: no such file" in refused(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_manifest_is_told(tmp_path: Path, raw: bytes) -> None:
    (write_weights(tmp_path) / MANIFEST).write_bytes(raw)
    assert "install Sluicegate again" in refused(tmp_path)


def test_a_manifest_is_read_within_bounds(tmp_path: Path) -> None:
    (write_weights(tmp_path) / MANIFEST).write_bytes(b" " * ((1 << 20) + 1))
    assert "more than 1,048,576 bytes" in refused(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(schema_version="2.0"), "schema_version: "),
        (lambda one: one.update(surprise=1), "surprise: "),
        (lambda one: one["weights"].update(bytes=10**12), "weights.bytes: "),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    changed(write_weights(tmp_path), change)
    found = refused(tmp_path)
    assert said in found
    assert "install Sluicegate again" in found


def test_features_of_another_version_are_refused(tmp_path: Path) -> None:
    write_weights(tmp_path, features=NINES)
    assert "made by a version that reads texts in another way" in refused(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    ],
)
def test_weights_that_changed_are_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = write_weights(tmp_path) / WEIGHTS
    path.write_bytes(spoil(path.read_bytes()))
    assert "install Sluicegate again" in refused(tmp_path)


def pickled() -> bytes:
    found = io.BytesIO()
    np.savez(found, weights=np.array([object()], dtype=object))
    return found.getvalue()


SMALL = arrays()
SHUFFLED = SMALL | {"features": SMALL["features"][::-1].copy()}
WRONG = {
    "a pickle": pickle.dumps({"weights": 1}),
    "an npz": pickled(),
    "nothing": b"\0",
    "no arrays": bytes(save({})),
    "an array too many": bytes(save(SMALL | {"more": np.zeros(1)})),
    "other types": bytes(save(SMALL | {"weights": SMALL["weights"].astype(np.float64)})),
    "other shapes": bytes(save(SMALL | {"weights": SMALL["weights"][:-1].copy()})),
    "features that fall": bytes(save(SHUFFLED)),
    "features too large": bytes(save(SMALL | {"features": SMALL["features"] + np.uint32(1 << 22)})),
    "no numbers": bytes(save(SMALL | {"intercepts": np.full(3, np.nan, np.float32)})),
    "a header beyond the file": (10**9).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_weights_is_refused_though_its_hash_fits(tmp_path: Path, name: str) -> None:
    write_weights(tmp_path, raw=WRONG[name])
    said = refused(tmp_path)
    assert f"{WEIGHTS} holds no weights of this kind" in said
    assert "install Sluicegate again" in said


@pytest.mark.parametrize("library", ["safetensors", "safetensors.numpy"])
def test_a_missing_library_is_an_import_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError):
        read_folder(write_weights(tmp_path))


def test_what_is_shipped_is_small_and_of_permissive_sources() -> None:
    files = [*SHIPPED.iterdir()]
    assert {one.name for one in files} == {MANIFEST, WEIGHTS}
    assert sum(one.stat().st_size for one in files) < 2_000_000
    manifest, _ = read_folder(SHIPPED)
    card = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8").replace("\\", "")
    for name, source in manifest.sources.items():
        # Our own rows are under the project's licence.
        assert source.licence is None or source.licence.partition(" (")[0] in PERMISSIVE
        assert name in card
    assert "engines/assets/passages" in (ROOT / "NOTICE").read_text(encoding="utf-8")
