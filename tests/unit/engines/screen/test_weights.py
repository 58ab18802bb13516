"""The folder: what does not fit is one sentence with the fix, and nothing in it runs."""

from __future__ import annotations

import io
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import save

from sluicegate.engines.errors import EngineError
from sluicegate.engines.screen.manifest import MANIFEST, WEIGHTS
from sluicegate.engines.screen.model import Screen, ScreenError
from support.small_screen import arrays, write_screen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NINES = f"sha256:{'9' * 64}"


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = orjson.loads((folder / MANIFEST).read_bytes())
    change(document)
    (folder / MANIFEST).write_bytes(orjson.dumps(document))


def refused(folder: Path) -> str:
    with pytest.raises(ScreenError) as caught:
        Screen.load(folder)
    assert isinstance(caught.value, EngineError)
    said = str(caught.value)
    assert "\n" not in said
    assert ";" in said or "pip install" in said  # the fix stands behind it
    return said


def test_a_whole_folder_is_loaded(tmp_path: Path) -> None:
    screen = Screen.load(write_screen(tmp_path))
    assert screen.digest.startswith("sha256:")
    assert Screen.load(tmp_path).digest == screen.digest


def test_the_digest_tells_weights_and_tables_apart(tmp_path: Path) -> None:
    other = arrays() | {"intercepts": np.ones(3, np.float32)}
    folders = [
        write_screen(tmp_path / "a"),
        write_screen(tmp_path / "b", raw=bytes(save(other))),
        write_screen(tmp_path / "c", groups=()),
    ]
    assert len({Screen.load(one).digest for one in folders}) == 3


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert "no such file; name the folder that `sluicegate adapt screen` wrote" in refused(tmp_path / "no")


def test_missing_weights_are_told(tmp_path: Path) -> None:
    (write_screen(tmp_path) / WEIGHTS).unlink()
    assert f"{WEIGHTS}: no such file" in refused(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (write_screen(tmp_path) / WEIGHTS).unlink()
    os.mkfifo(tmp_path / WEIGHTS)
    assert f"{WEIGHTS}: no such file" in refused(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_manifest_is_told(tmp_path: Path, raw: bytes) -> None:
    (write_screen(tmp_path) / MANIFEST).write_bytes(raw)
    assert "train the screen again" in refused(tmp_path)


def test_a_manifest_is_read_within_bounds(tmp_path: Path) -> None:
    (write_screen(tmp_path) / MANIFEST).write_bytes(b" " * ((1 << 20) + 1))
    assert "more than 1,048,576 bytes" in refused(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(schema_version="2.0"), "schema_version: "),
        (lambda one: one.update(surprise=1), "surprise: "),
        (lambda one: one["weights"].update(bytes=10**12), "weights.bytes: "),
        (lambda one: one["groups"].append(one["groups"][0]), "two are of one kind and language"),
        (lambda one: one["groups"][0].update(longest=10**9), "groups.0.longest: "),
        (lambda one: one["groups"][0].update(safe=[[0.5, 0.1], [0.6, 0.3]]), "errors fall"),
        (lambda one: one["groups"][0].update(least_known="0.5"), "groups.0.least_known: "),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    changed(write_screen(tmp_path), change)
    found = refused(tmp_path)
    assert said in found
    assert "train the screen again" in found


def test_features_of_another_version_are_refused(tmp_path: Path) -> None:
    write_screen(tmp_path, features=NINES)
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
    path = write_screen(tmp_path) / WEIGHTS
    path.write_bytes(spoil(path.read_bytes()))
    assert "copy the folder again, whole" in refused(tmp_path)


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
    write_screen(tmp_path, raw=WRONG[name])
    said = refused(tmp_path)
    assert f"{WEIGHTS} holds no weights of a screen" in said
    assert "train the screen again" in said


@pytest.mark.parametrize("library", ["safetensors", "safetensors.numpy"])
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert refused(write_screen(tmp_path)).endswith("is missing: pip install 'sluicegate[screen]'")
