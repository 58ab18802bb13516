"""A PostgreSQL of a test's own: Debian's package on a free loopback port, its data in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.kafka import dies_with_us, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_S = 120.0
_NOBODY = 65534


@cache
def programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return found[0].parent if found else None


def absence() -> str | None:
    """Why no server can be started here; None if one can."""
    return None if programs() else "no `initdb` in /usr/lib/postgresql (Debian package postgresql)"


@contextmanager
def postgres_server(certificate: Path | None = None) -> Iterator[str]:
    """A server that ends with the block; the URL of its first database.

    Args:
        certificate: A file with the server's key and certificate; None serves without TLS.
    """
    folder = Path(tempfile.mkdtemp(prefix="sluicegate-postgres-"))
    (port,) = free_ports(1)
    how: dict[str, Any] = {"cwd": folder, "env": {**os.environ, "HOME": str(folder), "LC_ALL": "C"}}
    if os.geteuid() == 0:  # it refuses to run as root
        os.chown(folder, _NOBODY, _NOBODY)
        how |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    place = programs()
    assert place is not None
    data, log = folder / "data", folder / "log"
    try:
        with log.open("wb") as told:
            how |= {"stdout": told, "stderr": told}
            made = [
                str(place / "initdb"),
                "-D",
                str(data),
                "-U",
                "review",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ]
            subprocess.run(made, check=True, **how)
            serve = [
                str(place / "postgres"),
                "-D",
                str(data),
                "-p",
                str(port),
                "-k",
                str(folder),
                "-h",
                "127.0.0.1",
                "-F",
            ]
            if certificate is not None:
                kept = folder / "server.pem"
                shutil.copyfile(certificate, kept)
                kept.chmod(0o600)
                if os.geteuid() == 0:
                    os.chown(kept, _NOBODY, _NOBODY)
                tls = {"ssl": "on", "ssl_cert_file": kept, "ssl_key_file": kept}
                serve += [word for name, value in tls.items() for word in ("-c", f"{name}={value}")]
            server: subprocess.Popen[bytes] = subprocess.Popen([*dies_with_us(), *serve], **how)
        try:
            _wait(place, port, server, log)
            yield f"postgresql+pg8000://review@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(place: Path, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    ask = [str(place / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask, check=False).returncode:
        assert server.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < end, log.read_text(errors="replace")
        time.sleep(0.1)
