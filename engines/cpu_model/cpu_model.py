"""Making of a CPU model's bundle: an engine bundle for any machine without a GPU.

The weights as published become a GGUF again: layers as Q8_0, for which llama.cpp has a fast kernel on CPUs, the
shipped adapter merged in, and the tokenizer as a file without control tokens.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.bundle import MANIFEST, Bundle, Manifest, file_digest
from sluicegate.engines.cpu_model.gguf_model import GgufModel, libraries, merge
from sluicegate.engines.cpu_model.models import SMALL, CpuModel
from sluicegate.engines.cpu_model.peft_adapter import PeftAdapter, parse_adapter
from sluicegate.engines.cpu_model.sources import obtain
from sluicegate.engines.errors import BundleError, EngineSetupError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


ADAPTER_WEIGHTS: Final = "adapter.safetensors"
ADAPTER_FACTS: Final = "adapter.json"


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
    model: CpuModel = SMALL,
    *,
    base: bool = False,
    destination: Path | None = None,
    sources: Sequence[str | Path] = (),
    report: Callable[[str], None],
    advance: Callable[[str, int, int], None] = lambda *_: None,
) -> Path:
    """Make sure that a CPU model's bundle is there, and return its folder.

    A valid bundle returns at once. Otherwise all is written to a temporary folder beside the
    destination and renamed when complete: an interrupted call leaves nothing half done but a download
    to go on with, and of two calls at the same time one does the work. Needs the extra ``cpu``. Blocking.

    Args:
        model: Which.
        base: True for the base alone, and the published weights beside it, as exports need them. False merges
            the shipped adapter in.
        destination: The bundle's folder; by default the model's own in the cache.
        sources: Where to get the weights, in place of where they are published; see
            :func:`~sluicegate.engines.cpu_model.sources.obtain`.
        report: Called with one line for each step.
        advance: Called with a stage, how much of it is done, and how much there is.

    Raises:
        EngineSetupError: What is missing, and how to provide it.
    """
    folder = (destination or model.bundle_path(base=base)).absolute()
    raw = model.shipped_manifest(base=base)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder, report):
            kept = original_beside(folder, Manifest.parse(model.base_manifest()))
            if _is_current(folder, raw) and (not base or kept.is_file()):
                report(f"already there: {folder}")
                return folder
            _refuse_foreign(folder, Manifest.parse(raw))
            for stale in folder.parent.glob(f".{folder.name}.part-*"):
                shutil.rmtree(stale, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.part-", dir=folder.parent) as temporary:
                libraries()  # before anything is downloaded
                original = kept
                if sources or not kept.is_file() or file_digest(kept) != model.weights_digest():
                    original = Path(temporary) / "original.gguf"
                    obtain(
                        model,
                        [str(one) for one in sources],
                        original,
                        part=kept.with_suffix(".part"),
                        report=report,
                        advance=advance,
                    )
                made = _make(model, Path(temporary), original, raw, report)
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


def _make(
    model: CpuModel, temporary: Path, original: Path, raw: bytes, report: Callable[[str], None]
) -> Path:
    manifest = Manifest.parse(raw)
    bundle = temporary / "bundle"
    bundle.mkdir()
    weights = bundle / manifest.files["model"].path
    opened = GgufModel(original)
    if manifest.adapter is None:
        report("writing model.gguf as Q8_0, and tokenizer.json")
        opened.write_q8_0(weights, name=model.title)
    else:
        report(f"merging the adapter {manifest.adapter.name}")
        _merge(model, opened, weights, manifest)
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


def _write_tokenizer(original: GgufModel, target: Path) -> None:
    target.write_bytes(original.tokenizer_json())


def _merge(model: CpuModel, original: GgufModel, weights: Path, manifest: Manifest) -> None:
    """Merge the shipped adapter; what else the bundle holds lies beside it in the package."""
    folder = model.adapter_folder()
    merge(original, read_shipped(folder), weights, name=manifest.name)
    for role, entry in manifest.files.items():
        if role not in ("model", "tokenizer"):
            shutil.copyfile(folder / entry.path, weights.parent / entry.path)
