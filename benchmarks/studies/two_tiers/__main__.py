"""What a screen saves of the engine's time, in the worker and at the edge, on Apache Kafka; no post may be lost."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder
sys.path.insert(1, str(Path(__file__).resolve().parents[3] / "tests"))

from studies.two_tiers.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
