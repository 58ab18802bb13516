"""The file of what an engine in process has in its work: what keeps it from being written costs no worker its start."""

from __future__ import annotations

import subprocess
import sys


def test_a_worker_for_whom_no_file_may_grow_has_a_folder_and_no_fault() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from sluicegate.pipeline.flow.servers import InWorkFile, default_folder\n"
        "from sluicegate.pipeline.flow.suspects import Suspects\n"
        "file = InWorkFile(default_folder())\n"
        "file.adopt()\n"
        "file.write({'sha256:' + '0' * 64}, Suspects(lambda: 0.0, print).known)\n"
        "print('started')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "started" in done.stdout, done.stderr[-500:]
