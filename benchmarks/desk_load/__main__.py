"""How long the review desk's pages take with many open cases. Prints JSON."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "tests"))

from desk_load.study import main  # noqa: E402 - the path first

main()
