"""Write cascade.md and cascade.json."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "tests"))

from cascade.command import main  # noqa: E402 - the path first

sys.exit(main())
