"""kube-apiserver and etcd: built from their sources by Go, and kept in the cache by their versions.

``python -m chart_e2e.programs`` builds what is not there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from support.kafka import cache_folder

SOURCES = Path(__file__).with_name("apiserver")


@dataclass(frozen=True)
class Program:
    """One command of the Go module beside this file."""

    name: str
    module: str
    package: str

    @property
    def version(self) -> str:
        """The version that go.mod pins."""
        found = re.search(
            rf"^\s*{re.escape(self.module)} (v[\d.]+)", (SOURCES / "go.mod").read_text(), re.MULTILINE
        )
        assert found, f"go.mod pins {self.module}"
        return found[1]

    @property
    def path(self) -> Path:
        """Where it is once it is built."""
        return cache_folder() / "bin" / f"{self.name}-{self.version}"

    def build(self) -> None:
        """Build it; the file appears whole or not at all."""
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        # Without the version Helm would take this server for v0.0.0.
        flags = f"-s -w -X k8s.io/component-base/version.gitVersion={self.version}"
        command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o", str(part)]
        try:
            subprocess.run(
                [*command, self.package], cwd=SOURCES, env=os.environ | {"CGO_ENABLED": "0"}, check=True
            )
            part.rename(self.path)
        finally:
            part.unlink(missing_ok=True)


ETCD = Program("etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3")
APISERVER = Program("kube-apiserver", "k8s.io/kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver")


def absence() -> str | None:
    """What is not built yet, and how to; None if nothing."""
    lacking = [one.name for one in (ETCD, APISERVER) if not one.path.is_file()]
    return (
        f"no {' and no '.join(lacking)} in {cache_folder()}/bin; `make chart-e2e` builds them"
        if lacking
        else None
    )


def main() -> None:
    lacking = [one for one in (ETCD, APISERVER) if not one.path.is_file()]
    if lacking and shutil.which("go") is None:
        sys.exit(
            "no `go` on PATH to build kube-apiserver and etcd with: install Go 1.26 or later (https://go.dev)"
        )
    for one in lacking:
        print(
            f"{one.name} {one.version} is built from its sources, once: some minutes, more on a busy machine",
            flush=True,
        )
        started = time.monotonic()
        try:
            one.build()
        except subprocess.CalledProcessError:
            sys.exit(f"Go could not build {one.name} {one.version}: it says why above")
        print(f"{one.name} {one.version}: built in {(time.monotonic() - started) / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
