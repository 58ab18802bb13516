"""The one place where something rendered is changed before it runs: the paths of mounts, and ports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from chart.rendering import Document


@dataclass(frozen=True)
class Rewriting:
    """What a container has at its mounts lies below a folder here, and its ports may be somebody's here."""

    root: Path
    mounts: tuple[str, ...]
    """Mount paths of one container, as rendered."""
    ports: Mapping[int, int]
    """Port as rendered to the one that takes its place."""

    @classmethod
    def of(cls, container: Document, root: Path, ports: Mapping[int, int]) -> Self:
        """That of a rendered container."""
        return cls(root, tuple(one["mountPath"] for one in container.get("volumeMounts", ())), ports)

    def __call__(self, text: str) -> str:
        """The text with both replaced, as whole words alone, each once."""
        mounts = "|".join(map(re.escape, sorted(self.mounts, key=len, reverse=True)))
        ports = "|".join(map(str, self.ports))
        pattern = rf"(?<![\w./-])(?P<mount>{mounts})(?![\w.-])|(?<![\w.])(?P<port>{ports})(?![\w.])"
        return re.sub(pattern, self._replace, text) if self.mounts and self.ports else text

    def place(self, mount: str) -> Path:
        """Where a mount path is here."""
        return self.root / mount.lstrip("/")

    def _replace(self, found: re.Match[str]) -> str:
        mount = found["mount"]
        return str(self.place(mount)) if mount else str(self.ports[int(found["port"])])
