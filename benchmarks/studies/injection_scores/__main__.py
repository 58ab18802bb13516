"""How far do injection attempts move the scores of the CPU model?"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder
sys.path.insert(1, str(Path(__file__).resolve().parents[3] / "tests"))

from studies.injection_scores.study import main  # noqa: E402 - the path first

main()
