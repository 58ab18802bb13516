"""Which texts may stand in for one another, what that saves, and what harm it does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(
    Path(__file__).resolve().parents[2]
)  # run as a folder, this file has only its own on the path

from studies.near_duplicates.study import main  # noqa: E402

main()
