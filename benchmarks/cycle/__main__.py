"""A cycle from end to end on the CPU model, with people who are simulated."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder

from cycle.study import main  # noqa: E402 - the path first

if __name__ == "__main__":
    sys.exit(main())
