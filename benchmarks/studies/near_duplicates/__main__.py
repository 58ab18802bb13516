"""Which texts may stand in for one another, what that saves, and what harm it does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder
sys.path.insert(1, str(Path(__file__).resolve().parents[3] / "tests"))

from studies.near_duplicates.study import main  # noqa: E402 - the path first

main()
