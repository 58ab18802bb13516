"""A mounted Secret, as Kubernetes keeps it: all its files change at once, by one link."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class MountedSecret:
    """A folder of files.

    Args:
        folder: Where it is mounted.
        files: Content by name.
    """

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self._folder = folder
        self._version = 0
        folder.mkdir()
        self.change(files)
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")

    def change(self, files: dict[str, bytes]) -> None:
        """Put these files in the place of those before."""
        self._version += 1
        version = self._folder / f"..version-{self._version}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
        link = self._folder / "..data_new"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")
        shutil.rmtree(self._folder / f"..version-{self._version - 1}", ignore_errors=True)
