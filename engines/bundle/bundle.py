"""Engine bundles: a folder with weights, tokenizer, prompt layout and labels, described by a manifest.

Opening a bundle checks that its parts belong together. Whatever does not fit is refused with
one sentence that names the file, the field and the fix.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sluicegate.engines.bundle.calibration import CALIBRATION_BYTES, Calibration
from sluicegate.engines.bundle.manifest import MANIFEST, BundleFile, Label, LabelMap, Manifest
from sluicegate.engines.bundle.tokenizer import BundleTokenizer, TextTokenizer
from sluicegate.engines.errors import BundleError
from sluicegate.engines.layouts import CompactLayout, Layout, VendorLayout
from sluicegate.schemas import NO_CATEGORY

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["MANIFEST", "Bundle", "BundleFile", "Label", "LabelMap", "Manifest", "file_digest"]

_MANIFEST_BYTES = 1 << 20  # a thousand times what one takes
_SMALL_ROLES = ("tokenizer", "layout", "calibration")


class Bundle:
    """An opened bundle; see :meth:`open`."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        tokenizer: TextTokenizer,
        layout: Layout,
        calibration: Calibration | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.digest = manifest.digest
        self.tokenizer = tokenizer
        self.layout = layout
        self.calibration = calibration
        """None where the bundle has none: scores then stay as the model gives them."""
        self.labels = manifest.labels
        self.category_tokens = {
            name: tokenizer.encode_text(f" {name}")[0] for name in (*manifest.categories, NO_CATEGORY)
        }
        """Category name, or ``None``, to the first token it begins with after ``Categories:``."""

    @classmethod
    def open(cls, path: Path, *, verify: bool = True, pinned_digest: str | None = None) -> Bundle:
        """Open a bundle and check that its parts belong together.

        Reads every file.

        Args:
            path: The folder that holds ``manifest.json``.
            verify: False skips the hash of large files; their presence and size, and all of
                tokenizer, layout and labels, are checked in any case.
            pinned_digest: Refuse any other bundle.

        Raises:
            BundleError: Which file and field do not fit, and the fix.
        """
        manifest = Manifest.parse(_read(path / MANIFEST, MANIFEST, limit_bytes=_MANIFEST_BYTES))
        if pinned_digest is not None and pinned_digest != manifest.digest:
            raise BundleError(
                f"{MANIFEST}: its digest is {manifest.digest}, the settings pin {pinned_digest}; "
                "use the pinned bundle or change the pin"
            )
        for role, entry in manifest.files.items():
            _check_file(path, role, entry, verify=verify or role in _SMALL_ROLES)
        bundle = cls(
            path, manifest, _tokenizer(path, manifest), _layout(path, manifest), _calibration(path, manifest)
        )
        _check_labels(bundle)
        return bundle

    def file(self, role: str) -> Path:
        """Path of the file with this role.

        Raises:
            BundleError: The bundle has no such file.
        """
        return self.path / _entry(self.manifest, role).path


def _entry(manifest: Manifest, role: str) -> BundleFile:
    if role not in manifest.files:
        raise BundleError(
            f"{MANIFEST}: files.{role}: missing; this engine needs it, so make the bundle with it"
        )
    return manifest.files[role]


def _read(path: Path, name: str, *, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit_bytes + 1)
    except OSError as error:
        raise BundleError(
            f"{name}: cannot be read in {path.parent} ({error.strerror}); fetch or make the bundle again"
        ) from error
    if len(raw) > limit_bytes:
        raise BundleError(f"{name}: larger than {limit_bytes} bytes; make the bundle again")
    return raw


def _check_file(root: Path, role: str, entry: BundleFile, *, verify: bool) -> None:
    where = f"{entry.path}: files.{role}"
    try:
        path = (root / entry.path).resolve()
        if not path.is_relative_to(root.resolve()):
            raise BundleError(f"{where}.path leads out of the bundle; copy the file into it")
        if not path.is_file():
            raise BundleError(f"{where}: no such file; fetch or make the bundle again")
        size = path.stat().st_size
        if size != entry.bytes:
            raise BundleError(
                f"{where}.bytes is {entry.bytes}, the file has {size}; fetch or make the bundle again"
            )
        found = file_digest(path) if verify else entry.sha256
    except (
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: a link that leads to itself, on Python below 3.13
        raise BundleError(
            f"{where}: cannot be read ({type(error).__name__}); fetch or make the bundle again"
        ) from error
    if found != entry.sha256:
        raise BundleError(
            f"{where}.sha256 is {entry.sha256}, the file has {found}; fetch or make the bundle again"
        )


def _tokenizer(root: Path, manifest: Manifest) -> BundleTokenizer:
    entry = _entry(manifest, "tokenizer")
    raw = _read(root / entry.path, entry.path, limit_bytes=entry.bytes)
    tokenizer = BundleTokenizer(raw, manifest.tokenizer.control_tokens)
    if tokenizer.digest != manifest.tokenizer.digest:
        raise BundleError(
            f"{entry.path}: tokenizer.digest is {manifest.tokenizer.digest}, file and control tokens "
            f"give {tokenizer.digest}; make the bundle again"
        )
    return tokenizer


def _layout(root: Path, manifest: Manifest) -> Layout:
    layout: Layout
    if manifest.layout.name != "vendor":
        layout = CompactLayout(manifest.layout.name)
    else:
        entry = _entry(manifest, "layout")
        layout = VendorLayout.parse(_read(root / entry.path, entry.path, limit_bytes=entry.bytes))
    if layout.digest != manifest.layout.digest:
        raise BundleError(
            f"{MANIFEST}: layout.digest is {manifest.layout.digest}, this version renders {layout.digest}; "
            "use the version the bundle was made with, or make it again"
        )
    return layout


def _calibration(root: Path, manifest: Manifest) -> Calibration | None:
    entry = manifest.files.get("calibration")
    if entry is None:
        return None
    return Calibration.parse(_read(root / entry.path, entry.path, limit_bytes=CALIBRATION_BYTES), entry.path)


def _check_labels(bundle: Bundle) -> None:
    for severity, label in asdict(bundle.labels).items():
        found = tuple(bundle.tokenizer.encode_static(label["text"]))
        if found != label["token_ids"]:
            raise BundleError(
                f"{MANIFEST}: labels.{severity}.token_ids is {list(label['token_ids'])}, the tokenizer gives "
                f"{list(found)}; make the bundle again"
            )
    check_distinct("labels", bundle.labels.first_ids())
    check_distinct("categories", bundle.category_tokens)


def check_distinct(field: str, first_ids: dict[Any, int]) -> None:
    """Make sure that names can be told apart by one step.

    Args:
        field: Of the manifest.
        first_ids: Name to the token it begins with.

    Raises:
        BundleError: Two begin with the same.
    """
    names: dict[int, str] = {}
    for name, number in first_ids.items():
        if number in names:
            raise BundleError(
                f"{MANIFEST}: {field}: {names[number]!r} and {name!r} begin with the same token {number}, "
                "so one step cannot tell them apart; rename one"
            )
        names[number] = name


def file_digest(path: Path) -> str:
    """``sha256:…`` of a file, read in pieces."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
