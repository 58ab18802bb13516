"""The embedded broker in a container of its own, until SIGTERM.

Usage: demo_broker.py SETTINGS WRITTEN: reads the settings, and writes them with the broker's address.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

import yaml


def main(given: Path, written: Path) -> int:
    """Run the broker; its exit status."""
    written.unlink(missing_ok=True)  # of a broker before this one
    settings = yaml.safe_load(given.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "sluicegate.pipeline.kafka.embedded", *settings["topics"].values()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as broker:  # noqa: S603 - our own
        stdin, stdout = cast("IO[bytes]", broker.stdin), cast("IO[bytes]", broker.stdout)
        signal.signal(signal.SIGTERM, lambda *_: stdin.close())  # it ends with its standard input
        address = json.loads(stdout.readline() or b"{}").get("address")
        if address is not None:
            settings["kafka"]["bootstrap_servers"] = address
            part = written.with_suffix(".part")
            part.write_text(yaml.safe_dump(settings), encoding="utf-8")
            part.replace(written)
            print(f"listens on {address}, for this pod alone; nothing is kept", flush=True)
        return broker.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
