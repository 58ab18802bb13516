"""Does the region hint move a score, and towards the label? The same texts with different regions or none."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder

from studies.region_hint.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
