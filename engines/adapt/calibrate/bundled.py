"""A bundle with a calibration in it: a new folder, a new manifest, a new digest. The old bundle stays as it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.adapt.calibrate.errors import CalibrationError
from sluicegate.engines.bundle.bundle import MANIFEST, Bundle, BundleFile, file_digest
from sluicegate.engines.bundle.calibration import CALIBRATION

if TYPE_CHECKING:
    from sluicegate.engines.adapt.evaluated import Engine


def with_calibration(source: Path, target: Path, content: bytes, engine: Engine) -> Bundle:
    """Write a bundle again, with this calibration in place of what it had.

    Files are linked where the file system can, so that gigabytes of weights are not copied.

    Args:
        source: The bundle whose scores were calibrated.
        target: Folder of the new one; missing or empty.
        content: Of ``calibration.json``.
        engine: Who gave the scores.

    Raises:
        CalibrationError: The scores are not this bundle's, or the folder cannot be written.
        BundleError: The bundle is damaged.
    """
    bundle = Bundle.open(source, verify=False)
    manifest = bundle.manifest
    adapter = manifest.adapter.digest if manifest.adapter else None
    if engine.digest != bundle.digest and (adapter is None or engine.adapter != adapter):
        raise CalibrationError(
            f"--bundle: the scores are of {engine.digest[:80]}, and {source} is {bundle.digest}; evaluate this bundle"
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CalibrationError(f"{target} is there and not an empty folder; choose another --bundle-out")
    kept = {role: entry for role, entry in manifest.files.items() if role != "calibration"}
    target = target.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.part-", dir=target.parent) as temporary:
            folder = Path(temporary) / "bundle"
            folder.mkdir(mode=0o755)
            for path in dict.fromkeys(entry.path for entry in kept.values()):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                _link(source / path, folder / path)
            with (folder / CALIBRATION).open("xb") as stream:  # never into a file that is linked
                stream.write(content)
            changed = {"calibration": CALIBRATION}
            if "gate" in kept:
                gate = folder / kept["gate"].path
                told = _calibrated_since(gate.read_bytes(), file_digest(folder / CALIBRATION))
                gate.unlink()
                gate.write_bytes(told)
                changed["gate"] = kept["gate"].path
            entries = {
                role: BundleFile(
                    path=path, sha256=file_digest(folder / path), bytes=(folder / path).stat().st_size
                )
                for role, path in changed.items()
            }
            new = manifest.model_copy(update={"files": {**kept, **entries}})
            document = orjson.dumps(new.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"
            (folder / MANIFEST).write_bytes(document)
            Bundle.open(folder)
            if target.is_dir():
                target.rmdir()
            folder.rename(target)
    except OSError as error:
        raise CalibrationError(
            f"{target} cannot be written ({error.strerror}); choose another --bundle-out"
        ) from error
    return Bundle.open(target, verify=False)


def _calibrated_since(gate: bytes, digest: str) -> bytes:
    """The gate's report with what it does not know: the scores that it compared were others."""
    return (
        orjson.dumps({**orjson.loads(gate), "calibrated_since": digest}, option=orjson.OPT_INDENT_2) + b"\n"
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)
