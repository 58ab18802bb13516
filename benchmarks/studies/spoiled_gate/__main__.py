"""Does the gate refuse an adapter whose training data had the labels of one language flipped?"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder

from studies.spoiled_gate.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
