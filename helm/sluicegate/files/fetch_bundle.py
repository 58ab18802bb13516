"""Fetch the archive of an engine bundle, compare its checksum, unpack it. Standard library only.

Usage: fetch_bundle.py (https://… | FILE) SHA256 DESTINATION
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_SILENCE_S = 60  # of a server


def main(source: str, sha256: str, destination: Path) -> str | None:
    """Leave the bundle in the destination; else say what is wrong."""
    archive = destination.with_name("bundle.tar")
    if (destination / "manifest.json").is_file():
        archive.unlink(missing_ok=True)
        print(f"already there: {destination}")  # the container was restarted, the volume is the same
        return None
    try:
        if source.startswith("https://"):
            _download(source, archive)
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            return (
                f"{source}: its sha256 is {found}, engine.sha256 is {sha256}; correct the one that is wrong"
            )
        _unpack(archive, destination)
    except (OSError, tarfile.TarError) as error:
        return f"{source}: cannot be fetched or unpacked ({error}); it must be a tar archive, packed or not"
    archive.unlink()
    print(f"written: {destination}")
    return None


def _download(url: str, archive: Path) -> None:
    with urllib.request.urlopen(url, timeout=_SILENCE_S) as answer, archive.open("wb") as file:  # noqa: S310 - https alone
        shutil.copyfileobj(answer, file, _CHUNK_BYTES)


def _unpack(archive: Path, destination: Path) -> None:
    part = destination.with_name("unpacked")
    shutil.rmtree(part, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(part, filter="data")
    # The bundle is the folder with the manifest: the archive's root, or the one folder in it.
    inside = [part, *(path for path in part.iterdir() if path.is_dir())]
    root = next((path for path in inside if (path / "manifest.json").is_file()), None)
    if root is None:
        raise tarfile.TarError("no manifest.json at its root or in a folder there")
    root.rename(destination)
    shutil.rmtree(part, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
