"""The volumes of one rendered pod, as folders: laid out as a kubelet does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from chart.rendering import Answer, Document
    from rendered.rewriting import Rewriting

SETTINGS = "settings.yaml"
"""The one file whose text is rewritten."""


@dataclass(frozen=True)
class Surroundings:
    """What a pod finds in its namespace, on its node and in its images."""

    release: Answer
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Secrets that are the user's, by name and key."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Folders for some volumes, which then hold something already; the others are empty."""
    programs: Mapping[str, Path] = field(default_factory=dict)
    """By container: a folder with the programs that its image has and the worker's has not."""

    def secret(self, reference: Mapping[str, str]) -> str:
        """The value that a ``secretKeyRef`` names."""
        return self.secrets[reference["name"]][reference["key"]].decode()

    def config_map(self, name: str) -> dict[str, bytes]:
        """Files of a rendered ConfigMap."""
        (found,) = [one for one in self.release.all("ConfigMap") if one["metadata"]["name"] == name]
        return {key: text.encode() for key, text in found["data"].items()}


class Volumes:
    """The volumes of one pod, in a folder of its own.

    Args:
        pod: The pod, or a pod template.
        surroundings: Where its volumes come from.
        folder: For volumes that containers share.
        settings: Rewrites the settings, whose paths are those of the container that works by them.
    """

    def __init__(
        self, pod: Document, surroundings: Surroundings, folder: Path, *, settings: Rewriting
    ) -> None:
        self._documents = {one["name"]: one for one in pod["spec"].get("volumes", ())}
        self._surroundings = surroundings
        self._folder = folder
        self._settings = settings

    def mount(self, container: Document, rewrite: Rewriting) -> None:
        """Put a container's volumes where its mounts are."""
        for mount in container.get("volumeMounts", ()):
            place = rewrite.place(mount["mountPath"])
            place.parent.mkdir(parents=True, exist_ok=True)
            files = self._files(self._documents[mount["name"]])
            if files is None:
                place.symlink_to(self._shared(mount["name"]) / mount.get("subPath", ""))
            else:
                assert "subPath" not in mount, "no file is mounted alone here; teach it to tests/rendered"
                _lay_out(place, files, self._settings)

    def _shared(self, name: str) -> Path:
        own = self._folder / name
        own.mkdir(parents=True, exist_ok=True)
        return self._surroundings.folders.get(name, own)

    def _files(self, volume: Document) -> dict[str, bytes] | None:
        """Files of a volume that has them from an object; None for a folder."""
        if "configMap" in volume:
            source = volume["configMap"]
            given = self._surroundings.config_map(source["name"])
        elif "secret" in volume:
            source = volume["secret"]
            given = dict(self._surroundings.secrets[source["secretName"]])
        else:
            known = volume.keys() & {"emptyDir", "persistentVolumeClaim"}
            assert known, f"no such volume is laid out here; teach it to tests/rendered: {volume}"
            return None
        return {one["path"]: given[one["key"]] for one in source["items"]} if "items" in source else given


def _lay_out(place: Path, files: Mapping[str, bytes], settings: Rewriting) -> None:
    """Each file is a link through ``..data``, so that a kubelet can exchange all of them at once."""
    version = place / "..version-1"
    version.mkdir(parents=True)
    (place / "..data").symlink_to(version.name)
    for name, content in files.items():
        text = settings(content.decode()).encode() if name == SETTINGS else content
        (version / name).write_bytes(text)
        (place / name).symlink_to(f"..data/{name}")
