"""The shipped adapter, its base and the baseline on the same labelled rows."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder

from evaluate.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
